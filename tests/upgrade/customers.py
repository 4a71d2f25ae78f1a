"""Makes customers who can order and a stock of numbers, and prints the customers' API tokens as JSON.

`python tests/upgrade/customers.py URL`. It is run with the version before this one, and imports nothing else.
"""

from __future__ import annotations

import json
import sys
from contextlib import closing

from models.db.session import Database
from tests.benchmarks.system import customers_of


def main() -> None:
    """Make the customers in the database of the URL."""
    with closing(Database(sys.argv[1])) as database:
        print(json.dumps([customer.token for customer in customers_of(database)]))


if __name__ == "__main__":
    main()
