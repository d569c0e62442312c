"""Writes a camt.053 statement of one version with pyiso20022 and xsdata, and prints as JSON what
pycamt reads in it."""

import importlib
import json
import sys

from pycamt.parser import Camt053Parser
from xsdata.formats.dataclass.parsers import DictDecoder
from xsdata.formats.dataclass.serializers import XmlSerializer

version, path = sys.argv[1:]
module = importlib.import_module(f"pyiso20022.camt.camt_053_001_{version}")


def amount(value):
    return {"value": value, "Ccy": "EUR"}


def balance(kind, value, day):
    return {
        "Tp": {"CdOrPrtry": {"Cd": kind}},
        "Amt": amount(value),
        "CdtDbtInd": "CRDT",
        "Dt": {"Dt": day},
    }


def party(name):
    return {"Pty": {"Nm": name}} if version == "08" else {"Nm": name}


def entry(value, side, reference, details, **more):
    # Version 02 has no amount here.
    if version != "02":
        details = [{"Amt": amount(value), "CdtDbtInd": side, **payment} for payment in details]
    return {
        "Amt": amount(value),
        "CdtDbtInd": side,
        "Sts": {"Cd": "BOOK"} if version == "08" else "BOOK",
        "BookgDt": {"Dt": "2026-03-02"},
        "ValDt": {"Dt": "2026-03-03"},
        "AcctSvcrRef": reference,
        "BkTxCd": {"Domn": {"Cd": "PMNT", "Fmly": {"Cd": "RCDT", "SubFmlyCd": "ESCT"}}},
        "NtryDtls": [{"TxDtls": details}],
        **more,
    }


bic = "BIC" if version == "02" else "BICFI"
salary = {
    "Refs": {"EndToEndId": "SALARY-2026-02"},
    "RltdPties": {
        "Dbtr": party("Müller & Söhne <GmbH>"),
        "DbtrAcct": {"Id": {"IBAN": "DE02120300000000202051"}},
    },
    "RltdAgts": {"DbtrAgt": {"FinInstnId": {bic: "BYLADEM1001"}}},
    "RmtInf": {"Ustrd": ["Salary", "February"]},
}
invoice = {
    "Refs": {"EndToEndId": "NOTPROVIDED"},
    "RltdPties": {"Cdtr": party("Stadtwerke")},
    "RmtInf": {
        "Strd": [
            {
                "CdtrRefInf": {
                    "Tp": {"CdOrPrtry": {"Cd": "SCOR"}, "Issr": "ISO"},
                    "Ref": "RF18539007547034",
                }
            }
        ]
    },
}
statement = {
    "Id": "2026-03-02/1",
    "CreDtTm": "2026-03-02T21:00:00",
    "Acct": {"Id": {"IBAN": "DE89370400440532013000"}, "Ccy": "EUR", "Ownr": {"Nm": "Clara Holm"}},
    "Bal": [balance("OPBD", "1000.00", "2026-03-01"), balance("CLBD", "3420.08", "2026-03-02")],
    "TxsSummry": {"TtlNtries": {"NbOfNtries": "3", "Sum": "2579.92"}},
    "Ntry": [
        entry("2500.00", "CRDT", "2026030200001", [salary]),
        entry("79.91", "DBIT", "2026030200002", [invoice]),
        entry("0.01", "DBIT", "2026030200003", [], RvslInd=True, AddtlNtryInf="Interest"),
    ],
}
message = {
    "BkToCstmrStmt": {
        "GrpHdr": {"MsgId": "1", "CreDtTm": "2026-03-02T21:00:00"},
        "Stmt": [statement],
    }
}
document = DictDecoder().decode(message, module.Document)
namespace = f"urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version}"
with open(path, "w", encoding="utf-8") as file:
    file.write(XmlSerializer().render(document, ns_map={None: namespace}))

parser = Camt053Parser.from_file(path)
[balances] = parser.get_statement_info()
print(json.dumps({"balances": balances, "entries": parser.get_transactions()}, default=str))
