// Reads accounts with openapi-fetch and the types that openapi-typescript has made.

import createClient, { type ClientOptions } from "openapi-fetch";
import type { components, paths } from "./interface.js";

type Account = components["schemas"]["AccountDetails"];

export async function read(
  bank: ClientOptions,
  requestId: () => string,
  consent: string,
  firstDay: string,
) {
  const client = createClient<paths>(bank);
  const under = (id: string) => ({
    "X-Request-ID": requestId(),
    "Consent-ID": id,
  });
  const list = (id: string) =>
    client.GET("/v1/accounts", {
      params: { header: under(id), query: { withBalance: true } },
    });

  const { data: found, error } = await list(consent);
  if (!found) throw new Error(JSON.stringify(error));
  const id = found.accounts[0]?.resourceId;
  if (id === undefined) throw new Error("the account has no id");
  const { data: page } = await client.GET("/v1/accounts/{account-id}/transactions", {
    params: {
      header: under(consent),
      path: { "account-id": id },
      query: { dateFrom: firstDay, bookingStatus: "booked" },
    },
  });
  const { error: refused } = await list("none");

  const row = ({ iban, balances }: Account) => {
    const amount = balances?.[0]?.balanceAmount;
    return [iban, amount?.amount, amount?.currency];
  };
  return {
    accounts: found.accounts.map(row),
    booked: page?.transactions?.booked?.map((entry) => entry.bookingDate),
    refused: refused?.tppMessages[0]?.code,
  };
}
