"""The same fan-out with httpx: asks every bank of a list for its accounts, and tells as JSON how long that took.

`aggregator.rs` starts it, with one argument: a JSON file that says whom to ask, and how.
"""

import asyncio
import json
import ssl
import sys
import time
import uuid

import httpx

with open(sys.argv[1], encoding="utf-8") as file:
    PLAN = json.load(file)


async def accounts(client, url):
    """One bank's accounts, or an exception."""
    headers = {
        "Accept": "application/json",
        "Consent-ID": "c",
        "X-Request-ID": str(uuid.uuid4()),
    }
    async with asyncio.timeout(PLAN["call"]):
        query = f"{url}/v1/accounts?withBalance=true"
        async with client.stream("GET", query, headers=headers) as answer:
            body = bytearray()
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > PLAN["answer"]:
                    raise ValueError("too large")
            answer.raise_for_status()
            listed = json.loads(body)["accounts"]
            if not isinstance(listed, list):
                raise ValueError("not a list of accounts")
            return listed


async def main():
    context = ssl.create_default_context(cafile=PLAN["anchor"])
    context.load_cert_chain(PLAN["certificate"], PLAN["key"])
    async with httpx.AsyncClient(
        http2=True,
        verify=context,
        trust_env=False,
        timeout=httpx.Timeout(PLAN["call"], connect=PLAN["connecting"]),
        limits=httpx.Limits(max_connections=PLAN["at_a_time"]),
    ) as client:
        began = time.perf_counter()
        answered = []

        async def ask(url):
            try:
                await accounts(client, url)
                answered.append(time.perf_counter() - began)
            except Exception:  # pylint: disable=broad-except
                pass

        await asyncio.gather(*(ask(url) for url in PLAN["banks"]))
        print(
            json.dumps(
                {
                    "answered": len(answered),
                    "last": max(answered, default=0),
                    "all": time.perf_counter() - began,
                }
            )
        )


asyncio.run(main())
