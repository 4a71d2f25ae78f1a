"""The tests, and what they share. Passwords are hashed cheaply here: the real thing is slow on purpose."""

from argon2 import PasswordHasher

from models.people import passwords

passwords._hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
passwords._NOBODY = passwords._nobodys_hash(passwords._hasher)
