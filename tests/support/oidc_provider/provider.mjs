// A real OpenID provider for the tests, on 127.0.0.1: prints its issuer once it serves. What it lets in is below; whoever types a name
// at its pages is that person. The resource that a client names chooses how its access tokens are signed.
import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import Provider from 'oidc-provider';

const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const SHARED = 'a secret that who verifies would have to know as well';

const keys = [
  ['ec', { namedCurve: 'P-256' }, 'ES256'],
  ['rsa', { modulusLength: 2048 }, 'RS256'],
].map(([kind, how, alg]) => ({ ...generateKeyPairSync(kind, how).privateKey.export({ format: 'jwk' }), alg, use: 'sig' }));

const machine = (client_id) => ({
  client_id, client_secret: `${client_id}-secret`, token_endpoint_auth_method: 'client_secret_post',
  grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
});

// Per client: how its tokens are signed, and for how long they are good.
const SIGNED = { shared: { alg: 'HS256', key: Buffer.from(SHARED) }, rsa: { alg: 'RS256' } };
const LIFETIME_S = { brief: 1 };

const server = createServer();
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: 'keyturn', application_type: 'native', token_endpoint_auth_method: 'none',
        grant_types: [DEVICE, 'refresh_token'], redirect_uris: [], response_types: [],
      },
      ...['gate', 'builder', 'notifier', 'brief', 'shared', 'rsa'].map(machine),
    ],
    jwks: { keys },
    cookies: { keys: ['of the tests'] },
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    extraTokenClaims: (ctx, token) => (token.accountId ? { email: `${token.accountId}@acme.example` } : {}),
    issueRefreshToken: () => true,
    rotateRefreshToken: true,
    ttl: {
      AccessToken: (ctx, token) => token.resourceServer?.accessTokenTTL ?? 300,
      ClientCredentials: (ctx, token) => LIFETIME_S[token.clientId] ?? 300,
    },
    features: {
      devInteractions: { enabled: true },
      deviceFlow: { enabled: true },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, resource, client) => ({
          scope: 'log', accessTokenFormat: 'jwt', audience: resource.replace('/brief', ''),
          accessTokenTTL: resource.endsWith('/brief') ? 1 : 300,
          jwt: { sign: SIGNED[client.clientId] ?? { alg: 'ES256' } },
        }),
      },
    },
  });
  server.on('request', provider.callback());
  console.log(`issuer ${issuer}`);
});
