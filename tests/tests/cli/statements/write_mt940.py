"""Writes an MT940 statement with mt940-writer, and prints as JSON what mt-940 reads in it."""

import json
import sys
from datetime import date
from decimal import Decimal

import mt940
import mt940_writer

[path] = sys.argv[1:]
kinds = mt940_writer.TransactionType
entries = [
    mt940_writer.Transaction(
        date(2026, 3, 2),
        Decimal("2500.00"),
        kinds.transfer,
        "NONREF//2026030200001",
        mt940_writer.TransactionAdditionalInfo(
            "166?00GUTSCHRIFT?109310?20EREF+SALARY-2026-02?21SVWZ+Salary?22 February\n"
            "?30BYLADEM1001?31DE02120300000000202051?32Mueller GmbH?34000"
        ),
    ),
    mt940_writer.Transaction(
        date(2026, 3, 2),
        Decimal("-79.91"),
        kinds.direct_debit,
        "INVOICE 7",
        mt940_writer.TransactionAdditionalInfo("Stadtwerke\nElectricity"),
    ),
    mt940_writer.Transaction(date(2026, 3, 3), Decimal("-0.01"), kinds.interest, "NONREF"),
]
statement = mt940_writer.Statement(
    "2026-03",
    mt940_writer.Account("NL91ABNA0417164300", "EUR"),
    "3",
    mt940_writer.Balance(Decimal("1000.00"), date(2026, 3, 1), "EUR"),
    mt940_writer.Balance(Decimal("3420.08"), date(2026, 3, 3), "EUR"),
    entries,
)
with open(path, "w", encoding="utf-8") as file:
    file.write(f"{statement}\n-\n")

read = mt940.parse(path)
print(
    json.dumps(
        {
            "closing": str(read.data["final_closing_balance"].amount.amount),
            "entries": [
                {"amount": str(entry.data["amount"].amount), "date": str(entry.data["date"])}
                for entry in read
            ],
        }
    )
)
