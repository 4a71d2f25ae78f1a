"""The tests, and what they share. Passwords are hashed cheaply here: the real thing is slow on purpose."""

from argon2 import PasswordHasher

from models.people import users

users._hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
users._NOBODY = users._nobodys_hash(users._hasher)
