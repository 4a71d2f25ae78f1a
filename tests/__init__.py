"""The tests, and what they share. Passwords are hashed cheaply here: the real thing is slow on purpose."""

from argon2 import PasswordHasher

from models import people

people._hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
people._NOBODY = people._nobodys_hash(people._hasher)
