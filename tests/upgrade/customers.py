"""Creates customers who can order, and number blocks for them, and prints the customers' API tokens as a JSON array.

`python tests/upgrade/customers.py URL`. The script runs with the code of the older version, and so imports only modules
that it has.
"""

from __future__ import annotations

import json
import sys
from contextlib import closing

from models.db.session import Database
from tests.benchmarks.system import customers_of


def main() -> None:
    """Create the customers in the database with the URL given as argument."""
    with closing(Database(sys.argv[1])) as database:
        print(json.dumps([customer.token for customer in customers_of(database)]))


if __name__ == "__main__":
    main()
