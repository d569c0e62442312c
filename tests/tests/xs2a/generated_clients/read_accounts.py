"""Reads accounts with the client that openapi-python-client has made."""

import datetime
import json
import ssl
import sys
import uuid

from xs2a_client import Client
from xs2a_client.api.accounts import get_account_list, get_transaction_list
from xs2a_client.models import (
    AccountList,
    BookingStatus,
    TppMessages,
    TransactionsResponse,
)

url, anchors, certificate, key, consent, first_day = sys.argv[1:]
tls = ssl.create_default_context(cafile=anchors)
tls.load_cert_chain(certificate, key)
client = Client(base_url=url, verify_ssl=tls)


def accounts(consent_id):
    return get_account_list.sync(
        client=client,
        x_request_id=str(uuid.uuid4()),
        consent_id=consent_id,
        with_balance=True,
    )


found = accounts(consent)
assert isinstance(found, AccountList), found
page = get_transaction_list.sync(
    client=client,
    account_id=found.accounts[0].resource_id,
    x_request_id=str(uuid.uuid4()),
    consent_id=consent,
    date_from=datetime.date.fromisoformat(first_day),
    booking_status=BookingStatus.BOOKED,
)
assert isinstance(page, TransactionsResponse), page
refused = accounts("none")
assert isinstance(refused, TppMessages), refused

amounts = [account.balances[0].balance_amount for account in found.accounts]
print(
    json.dumps(
        {
            "accounts": [
                [account.iban, amount.amount, amount.currency]
                for account, amount in zip(found.accounts, amounts)
            ],
            "booked": [
                entry.booking_date.isoformat() for entry in page.transactions.booked
            ],
            "refused": refused.tpp_messages[0].code,
        }
    )
)
