#!/usr/bin/env python3
"""Sums the protected sales of one region and signs the sum, so that only who has the key can check it.

Reads only what a confidential app is given: environment variables and folders.
  requester secret 1  the key of the HMAC
  requester secret 2  the region to look at, which is confidential too
  app secret          the price that the developer's service asks for a unit of each product, as JSON
"""

import csv
import hashlib
import hmac
import json
import os
import pathlib

key = os.environ["IEXEC_REQUESTER_SECRET_1"].encode()
region = os.environ["IEXEC_REQUESTER_SECRET_2"]
prices = json.loads(os.environ["IEXEC_APP_DEVELOPER_SECRET"])
table = pathlib.Path(os.environ["IEXEC_IN"]) / os.environ["IEXEC_DATASET_FILENAME"]

with table.open(newline="") as lines:
    rows = [row for row in csv.DictReader(lines) if row["region"] == region]
total = sum(int(row["units"]) * prices[row["product"]] for row in rows)
mac = hmac.new(key, f"{len(rows)}:{total}".encode(), hashlib.sha256).hexdigest()

out = pathlib.Path(os.environ["IEXEC_OUT"])
(out / "result.json").write_text(json.dumps({"rows": len(rows), "total": total, "hmac": mac}) + "\n")
(out / "computed.json").write_text(json.dumps({"deterministic-output-path": str(out / "result.json")}) + "\n")
