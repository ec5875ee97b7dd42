// A certified OpenID Provider on localhost, with its development pages for signing in: any name
// and any password will do. Usage: node provider.mjs PORT; prints its issuer once it listens.
import http from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import { Provider } from 'oidc-provider';

const server = http.createServer();
server.listen(Number(process.argv[2]), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const kid = `key-${Date.now()}`;
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const key = { ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' };
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'dsx',
      client_secret: 'known to both',
      application_type: 'native', // any port of the loopback interface, RFC 8252
      redirect_uris: ['http://127.0.0.1/api/v1/session/oidc/callback'],
      token_endpoint_auth_method: 'client_secret_basic',
    }],
    claims: { openid: ['sub'], email: ['email'], profile: ['preferred_username'] },
    findAccount: (_, sub) => ({
      accountId: sub,
      claims: () => ({
        sub,
        email: `${sub}@example.org`,
        ...(sub.startsWith('mail-') ? {} : { preferred_username: sub }),
      }),
    }),
    cookies: { keys: ['of this run only'] },
    jwks: { keys: [key] },
    pkce: { required: () => true },
  });
  server.on('request', provider.callback());
  console.log(issuer);
});
