// Gives the client its certificate, and prints what it reads.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { Agent, Request, fetch, setGlobalDispatcher } from "undici";
import { read } from "./client.js";

const [url, anchors, certificate, key, consent, firstDay] = process.argv.slice(2);
const [ca, cert, own] = [anchors, certificate, key].map((file) => readFileSync(file));
setGlobalDispatcher(new Agent({ connect: { ca, cert, key: own } }));
const bank = { baseUrl: url, Request, fetch };
console.log(JSON.stringify(await read(bank, randomUUID, consent, firstDay)));
