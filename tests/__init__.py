"""The tests of the portal. Importing this package makes password hashing cheap: in production it is slow on purpose."""

from argon2 import PasswordHasher

from models.people import passwords

passwords._hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
passwords._NOBODY = passwords._nobodys_hash(passwords._hasher)
