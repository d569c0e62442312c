// OpenID Connect provider of a bank: npm `oidc-provider` over TLS, with a page of one form for password and code.
// Arguments: the folder of the npm packages, and a JSON object with the fields of `settings` below.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { generateKeyPairSync } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const [packages, text] = process.argv.slice(2);
const settings = JSON.parse(text);
const module = await import(pathToFileURL(`${packages}/oidc-provider/lib/index.js`));
const Provider = module.Provider ?? module.default;

const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
const server = createServer({ cert: readFileSync(settings.certificate), key: readFileSync(settings.key) });
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `https://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [{
    client_id: settings.client,
    redirect_uris: [`${settings.origin}/log-in/callback`],
    post_logout_redirect_uris: [`${settings.origin}/log-out`],
    response_types: ['code'],
    grant_types: ['authorization_code'],
    id_token_signed_response_alg: 'ES256',
    ...(settings.details && { authorization_details_types: ['account_information'] }),
    ...(settings.publicKey
      ? {
        token_endpoint_auth_method: 'private_key_jwt',
        token_endpoint_auth_signing_alg: 'ES256',
        jwks: { keys: [settings.publicKey] },
      }
      : { client_secret: settings.secret }),
  }],
  jwks: { keys: [{ ...key, alg: 'ES256', use: 'sig', kid: 'one' }] },
  cookies: { keys: ['a key of a test'] },
  acrValues: [settings.acr],
  claims: { openid: ['sub', 'customer_number', 'acr', 'amr', 'auth_time', 'authorization_details'] },
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  features: {
    devInteractions: { enabled: false },
    pushedAuthorizationRequests: { enabled: settings.pushed, requirePushedAuthorizationRequests: settings.pushed },
    rpInitiatedLogout: { enabled: true },
    ...(settings.details && {
      // Rich requests are for a resource.
      resourceIndicators: {
        enabled: true,
        defaultResource: () => `${issuer}/accounts`,
        getResourceServerInfo: () => ({ scope: '', accessTokenFormat: 'opaque' }),
        useGrantedResource: () => true,
      },
      richAuthorizationRequests: {
        enabled: true,
        types: { account_information: { validate() {} } },
        authorizationDetailsForAccessToken: (context, token, source) => source.rar,
        authorizationDetailsForGrantSource: (context) => JSON.parse(context.oidc.params.authorization_details ?? '[]'),
      },
    }),
  },
  interactions: { url: (context, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (context, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      customer_number: id,
      authorization_details: context.oidc.entities.AuthorizationCode?.rar,
    }),
  }),
  // What the customer confirms is shown with the log-in.
  async loadExistingGrant(context) {
    const grant = new context.oidc.provider.Grant({
      clientId: context.oidc.client.clientId,
      accountId: context.oidc.session.accountId,
    });
    grant.addOIDCScope('openid');
    for (const detail of JSON.parse(context.oidc.params.authorization_details ?? '[]')) {
      grant.addRar(detail);
    }
    await grant.save();
    return grant;
  },
});
provider.on('server_error', (context, error) => console.error(error));

const escape = (value) => String(value).replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

const form = (details) => `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Sign in</title></head>
<body><main><h1>Sign in</h1>
${details.map((one) => `<p>${escape(one.tpp.name)} gets access to:</p><ul>${
    one.accounts.map((account) => `<li>${escape(account.reference.iban ?? account.reference.maskedPan)}</li>`).join('')
  }</ul>`).join('')}
<form method="post">
<label>User <input name="user"></label> <label>Secret <input name="secret" type="password"></label>
<label>Second factor <input name="factor"></label>
<button>Sign in</button> <button name="cancel" value="1">Cancel</button>
</form></main></body></html>`;

const body = async (request) => {
  let text = '';
  for await (const piece of request) {
    text += piece;
  }
  return new URLSearchParams(text);
};

const interact = async (request, response) => {
  const { prompt, params } = await provider.interactionDetails(request, response);
  if (request.method === 'GET') {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end(form(JSON.parse(params.authorization_details ?? '[]')));
    return;
  }
  const entered = await body(request);
  if (entered.has('cancel') || prompt.name !== 'login') {
    await provider.interactionFinished(request, response, { error: 'access_denied' });
    return;
  }
  if (entered.get('secret') !== settings.password) {
    response.statusCode = 403;
    response.end('wrong');
    return;
  }
  const strong = entered.get('factor') === settings.factor;
  const login = {
    accountId: entered.get('user'),
    ...(strong ? { acr: settings.acr, amr: ['pwd', 'otp', 'mfa'] } : { amr: ['pwd'] }),
  };
  // The page has shown what is asked for.
  await provider.interactionFinished(request, response, { login, consent: {} });
};

const handle = provider.callback();
server.on('request', (request, response) => {
  if (request.url.startsWith('/interaction/')) {
    interact(request, response).catch((error) => {
      console.error(error);
      response.statusCode = 500;
      response.end();
    });
  } else {
    handle(request, response);
  }
});
console.log(`provider at ${issuer}`);
