"""The whole system under load while its parts are killed, cut, slowed and filled; `auditor.py` judges what is left."""
