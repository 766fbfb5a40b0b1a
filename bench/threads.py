"""Print, as JSON, large products by NumPy with its default threads beside fastnn's; book.py runs this."""

import json
import sys

import functions
import harness


def main():
    """Measure the large squares."""
    options = harness.parser("threads", __doc__).parse_args()
    largest = 50_000 if options.quick else sys.maxsize
    shapes = {"square": functions.THREADED}
    results = functions.measure_products(harness.settings(options), harness.Progress(), largest, shapes)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
