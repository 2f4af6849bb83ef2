// An OpenID Connect provider (panva's oidc-provider, as its README shows it), with one client and whoever logs in.
// A subject such as "anna+vault-operators" has the groups behind its plus signs.
import Provider from "oidc-provider";

const [port, redirect, secret] = process.argv.slice(2);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: "roadvault", client_secret: secret, redirect_uris: [redirect], grant_types: ["authorization_code"], response_types: ["code"] }],
  claims: { openid: ["sub"], profile: ["preferred_username", "groups"], email: ["email"] },
  conformIdTokenClaims: false, // claims of scopes are in the ID token
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true } },
  cookies: { keys: ["keys of the test's provider"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id.split("+")[0], groups: id.split("+").slice(1), email: `${id}@example.org` }),
  }),
});
provider.listen(Number(port), "127.0.0.1");
