// A real OAuth 2.0 authorization server with the broker's addresses, for the integration tests.
//
//   OAUTH_CLIENT_ID=.. OAUTH_CLIENT_SECRET=.. OAUTH_REDIRECT_URI=.. node server.mjs
//
// It takes a free port on the loopback address, prints one line, {"url": "http://127.0.0.1:PORT"},
// on stdout and serves until its stdin ends, so that it never outlives the test that started it.
// OAUTH_SERVER_MODULES names another node_modules folder than the one beside this file.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const DIALOG = '/v2/login/authorization/dialog';
const TOKEN = '/v2/login/authorization/token';
const DEFAULT_SCOPE = 'broker';
const HOUR = 60 * 60;
const DAY = 24 * HOUR;

// stdout carries the one line; the provider's notices belong on stderr.
console.info = console.error;
console.log = console.error;

function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

// Import statements look only beside this file and above it, hence the search by hand.
async function loadProvider() {
  const modules =
    process.env.OAUTH_SERVER_MODULES || fileURLToPath(new URL('node_modules', import.meta.url));
  const entry = createRequire(import.meta.url).resolve(resolve(modules, 'oidc-provider'));
  return (await import(pathToFileURL(entry).href)).Provider;
}

function configuration() {
  return {
    clients: [
      {
        client_id: required('OAUTH_CLIENT_ID'),
        client_secret: required('OAUTH_CLIENT_SECRET'),
        redirect_uris: [required('OAUTH_REDIRECT_URI')],
        application_type: 'web',
        token_endpoint_auth_method: 'client_secret_post',
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
      },
    ],
    routes: { authorization: DIALOG, token: TOKEN },
    scopes: [DEFAULT_SCOPE],
    pkce: { required: () => false },
    issueRefreshToken: () => true,
    rotateRefreshToken: true,
    // The tokens live by their own terms, not by the browser session they came from.
    expiresWithSession: () => false,
    ttl: {
      AccessToken: HOUR,
      AuthorizationCode: 60,
      Grant: 14 * DAY,
      Interaction: HOUR,
      RefreshToken: 14 * DAY,
      Session: 14 * DAY,
    },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    cookies: { keys: [randomBytes(32).toString('hex')] },
    features: { devInteractions: { enabled: true }, userinfo: { enabled: false } },
  };
}

// RFC 6749 section 3.3: a client that names no scope gets the server's default one. oidc-provider
// has no setting for it and answers access_denied when no scope was granted, so the default is put
// in here. It is not `openid`: the exchange stays plain OAuth 2.0, without an ID token.
async function defaultScope(ctx, next) {
  if (ctx.path === DIALOG && ctx.query.scope === undefined) {
    ctx.query = { ...ctx.query, scope: DEFAULT_SCOPE };
  }
  await next();
}

// What came to the token endpoint, in order of arrival; a null status has not been answered yet.
const tokenRequests = [];

function fingerprint(token) {
  return token ? createHash('sha256').update(token).digest('hex').slice(0, 16) : null;
}

async function recordTokenRequests(ctx, next) {
  if (ctx.path !== TOKEN) {
    await next();
    return;
  }
  const entry = { grant_type: null, refresh_token_sha256: null, status: null, error: null };
  tokenRequests.push(entry);
  try {
    await next();
  } finally {
    entry.grant_type = ctx.oidc?.params?.grant_type ?? null;
    entry.refresh_token_sha256 = fingerprint(ctx.oidc?.params?.refresh_token);
    entry.status = ctx.status;
    entry.error = ctx.body?.error ?? null;
  }
}

async function showTokenRequests(ctx, next) {
  if (ctx.path === '/__requests') {
    ctx.body = tokenRequests;
    return;
  }
  await next();
}

const Provider = await loadProvider();
const server = createServer();
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const url = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(url, configuration());
provider.use(showTokenRequests);
provider.use(recordTokenRequests);
provider.use(defaultScope);
provider.on('server_error', (_ctx, error) => console.error(error));
server.on('request', provider.callback());
// Clients are checked on first use; a mistake in this one should show now.
await provider.Client.find(required('OAUTH_CLIENT_ID'));

process.stdin.resume().on('end', () => {
  server.close();
  server.closeAllConnections();
});
process.stdout.write(`${JSON.stringify({ url })}\n`);
