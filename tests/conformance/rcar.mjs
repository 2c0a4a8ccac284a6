// A client of the Key Broker Service protocol, RCAR 0.4.0, written against the protocol's own description
// (kbs_attestation_protocol.md of Confidential Containers' trustee) and the RFCs that it names. It shares no code with the
// service: JOSE is npm's `jose`, everything else is Node's. What no client can do by itself, a TEE and a worker, is asked of a
// helper over HTTP.
//
// Reads on stdin: { "base", "brief", "briefSeconds", "helper", "tee", "task", "other", "resources": { path: base64 } }
//   base     URL of the service;  brief  of one whose sessions hold for few seconds (`briefSeconds`)
//   helper   POST /evidence { reportData } and POST /voucher { task, thumbprint, base }, hex and text
// Prints one line per thing that conforms; exits with 1 at the first that does not.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import { setTimeout as pause } from 'node:timers/promises';

const toolchain = createRequire(new URL('../../script/toolchain/package.json', import.meta.url));
const jose = await import(pathToFileURL(toolchain.resolve('jose')));
const world = JSON.parse(await text(process.stdin));

const SESSION = 'kbs-session-id';
const say = (what) => console.log(`conforms: ${what}`);

// RFC 8785 for documents of objects and plain text.
function canonical(value) {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(',')}}`;
}

function reportData(nonce, key) {
  const runtime = canonical({ 'additional-evidence': '', nonce, 'tee-pubkey': key });
  return createHash('sha384').update(runtime).digest('hex').padEnd(128, '0');
}

async function post(url, body, headers = {}) {
  const content = { 'content-type': 'application/json', ...headers };
  return fetch(url, { method: 'POST', headers: content, body: JSON.stringify(body) });
}

const ask = async (path, body) => (await post(`${world.helper}/${path}`, body)).json();

// `Set-Cookie: kbs-session-id=<session>`, with whatever attributes.
function sessionOf(answer) {
  const cookies = answer.headers.getSetCookie().map((cookie) => cookie.split(';')[0].trim());
  const session = cookies.find((cookie) => cookie.startsWith(`${SESSION}=`));
  assert.ok(session, 'no session cookie');
  assert.ok(session.length < 4096, `a cookie of ${session.length} bytes`);
  return session.slice(SESSION.length + 1);
}

// ErrorInformation: `type` and `detail`, both text.
async function refuses(answer, status, why) {
  const body = await answer.json();
  assert.equal(answer.status, status, `${why}: ${answer.status} ${JSON.stringify(body)}`);
  assert.equal(typeof body.type, 'string', why);
  assert.ok(body.type.length > 0 && typeof body.detail === 'string', why);
  say(`${why}: ${status}`);
  return body;
}

async function keyPair(alg, options = {}) {
  const { publicKey, privateKey } = await jose.generateKeyPair(alg, { extractable: true, ...options });
  const { d, p, q, dp, dq, qi, ...open } = await jose.exportJWK(publicKey);
  return { privateKey, jwk: { ...open, alg } };
}

async function challenge(base, extra = '') {
  const answer = await post(`${base}/kbs/v0/auth`, { version: '0.4.0', tee: world.tee, 'extra-params': extra });
  assert.equal(answer.status, 200);
  const { nonce, 'extra-params': params } = await answer.json();
  assert.equal(typeof nonce, 'string');
  assert.ok([undefined, 'sha384'].includes(params?.['selected-hash-algorithm']));
  return { base, nonce, session: sessionOf(answer) };
}

async function voucher(task, jwk) {
  const thumbprint = Buffer.from(await jose.calculateJwkThumbprint(jwk, 'sha256'), 'base64url');
  return (await ask('voucher', { task, thumbprint: thumbprint.toString('hex') })).voucher;
}

// `attest`, as it should be unless `but` says otherwise.
async function attest(challenged, key, but = {}) {
  const { base, session } = challenged;
  const quoted = but.quoted ?? reportData(challenged.nonce, key.jwk);
  const body = {
    'init-data': null,
    'runtime-data': { nonce: but.nonce ?? challenged.nonce, 'tee-pubkey': but.key ?? key.jwk },
    'tee-evidence': { primary_evidence: await ask('evidence', { reportData: quoted }), additional_evidence: '' },
  };
  const proof = await voucher(but.task ?? world.task, key.jwk);
  const path = but.inPath ? `/kbs/${proof}/v0/attest` : '/kbs/v0/attest';
  const headers = but.inPath ? {} : { 'sesame-run-voucher': proof };
  return post(base + path, body, { ...headers, ...(but.headers ?? { cookie: `${SESSION}=${session}` }) });
}

async function attested(base, key, but) {
  const answer = await attest(await challenge(base), key, but);
  assert.equal(answer.status, 200, await answer.clone().text());
  return { cookie: sessionOf(answer), token: (await answer.json()).token };
}

const get = (base, path, headers) => fetch(`${base}/kbs/v0/resource/${path}`, { headers });
const byCookie = ({ cookie }) => ({ cookie: `${SESSION}=${cookie}` });
const byToken = ({ token }) => ({ authorization: `Bearer ${token}` });

// A flattened JWE (RFC 7516, section 7.2.2) by the key's own `alg`.
async function opens(answer, key, expected, why) {
  assert.equal(answer.status, 200, `${why}: ${await answer.clone().text()}`);
  const jwe = await answer.json();
  const { plaintext, protectedHeader } = await jose.flattenedDecrypt(jwe, key.privateKey);
  assert.equal(protectedHeader.alg, key.jwk.alg);
  assert.equal(protectedHeader.enc, 'A256GCM');
  if (expected) assert.equal(Buffer.from(plaintext).toString('base64'), expected, why);
  else assert.ok(plaintext.length > 0, why);
  return jwe;
}

async function fetches(session, key, headersOf, why) {
  for (const [path, expected] of Object.entries(world.resources)) {
    const answer = await get(world.base, `${world.task}/${path}`, headersOf(session));
    await opens(answer, key, expected, `${why}, ${path}`);
  }
  say(`${why}: ${Object.keys(world.resources).length} resources`);
}

async function theKeys() {
  const keys = {
    'EC P-256': await keyPair('ECDH-ES+A256KW', { crv: 'P-256' }),
    'RSA 2048': await keyPair('RSA-OAEP-256', { modulusLength: 2048 }),
    'RSA 4096': await keyPair('RSA-OAEP-256', { modulusLength: 4096 }),
  };
  for (const [name, key] of Object.entries(keys)) {
    const session = await attested(world.base, key);
    await fetches(session, key, byCookie, `${name}, cookie only`);
    await fetches(session, key, byToken, `${name}, Bearer only`);
  }
  return keys['EC P-256'];
}

async function theKeysThatAreNot() {
  const rsa = await keyPair('RSA-OAEP-256', { modulusLength: 2048 });
  const wrong = {
    'RSA1_5': { ...rsa.jwk, alg: 'RSA1_5' },
    'another exponent': { ...rsa.jwk, e: 'Aw' },
    'P-521': (await keyPair('ECDH-ES+A256KW', { crv: 'P-521' })).jwk,
  };
  for (const [name, jwk] of Object.entries(wrong)) {
    const answer = await attest(await challenge(world.base), { jwk });
    await refuses(answer, 400, `a key that is not served: ${name}`);
  }
}

async function theToken(key) {
  const { token, cookie } = await attested(world.base, key);
  const jwks = jose.createLocalJWKSet(await (await fetch(`${world.base}/.well-known/jwks.json`)).json());
  const { payload, protectedHeader } = await jose.jwtVerify(token, jwks);
  assert.ok(payload.exp > payload.iat && protectedHeader.kid);
  assert.deepEqual(payload['tee-pubkey'], key.jwk);
  assert.equal(await jose.calculateJwkThumbprintUri(payload.jwk), payload.iss);
  assert.equal(payload.eat_profile, 'tag:github.com,2023:veraison/ear');
  assert.ok(['affirming', 'warning'].includes(payload.submods.cpu0['ear.status']));
  await jose.jwtVerify(cookie, jwks);
  say('the token verifies by the published key set, and is about the attested key');

  const [head, body, signature] = token.split('.');
  const later = JSON.parse(Buffer.from(body, 'base64url'));
  later.exp += 3600;
  const forged = [head, Buffer.from(JSON.stringify(later)).toString('base64url'), signature].join('.');
  const answer = await get(world.base, `${world.task}/app-secret/1`, byToken({ token: forged }));
  await refuses(answer, 401, 'a token whose life was stretched');
}

async function theRefusals(key) {
  const path = `${world.task}/app-secret/1`;
  await refuses(await get(world.base, path, {}), 401, 'a resource without a session');
  await refuses(await get(world.base, path, byCookie({ cookie: 'x' })), 401, 'an unknown cookie');
  const challenged = await challenge(world.base);
  const unattested = await get(world.base, path, byCookie({ cookie: challenged.session }));
  await refuses(unattested, 401, 'a challenge is no session');

  const old = await post(`${world.base}/kbs/v0/auth`, { version: '0.1.1', tee: world.tee, 'extra-params': '' });
  await refuses(old, 401, 'another version of the protocol');
  const hashes = { 'supported-hash-algorithms': ['sha256', 'sm3'] };
  const sm3 = await post(`${world.base}/kbs/v0/auth`, { version: '0.4.0', tee: world.tee, 'extra-params': hashes });
  await refuses(sm3, 401, 'no hash in common');
  await challenge(world.base, { 'supported-hash-algorithms': ['sha256', 'sha384', 'sha512', 'sm3'] });
  say('a hash in common');

  await refuses(await attest(challenged, key, { headers: {} }), 401, 'an attestation without its cookie');
  const other = await challenge(world.base);
  await refuses(await attest(challenged, key, { nonce: other.nonce }), 401, "another challenge's nonce");
  const quoted = reportData(other.nonce, key.jwk);
  await refuses(await attest(challenged, key, { quoted }), 401, 'evidence about another nonce');
  const stranger = await keyPair('ECDH-ES+A256KW', { crv: 'P-256' });
  await refuses(await attest(challenged, key, { key: stranger.jwk }), 401, 'another key than the quoted one');
  const theirs = reportData(challenged.nonce, stranger.jwk);
  await refuses(await attest(challenged, key, { quoted: theirs }), 401, 'evidence about another key');

  const session = await attested(world.base, key);
  await refuses(await get(world.base, `${world.other}/app-secret/1`, byCookie(session)), 403, 'another task');
  await refuses(await get(world.base, `${world.task}/no-such/1`, byCookie(session)), 404, 'an absent resource');
  const answer = await get(world.base, path, byCookie(session));
  await assert.rejects(jose.flattenedDecrypt(await answer.json(), stranger.privateKey));
  say('an answer opens for the attested key alone');
}

async function theBasePath(key) {
  const session = await attested(world.base, key, { inPath: true });
  const proof = await voucher(world.task, key.jwk);
  const answer = await fetch(`${world.base}/kbs/${proof}/v0/resource/${world.task}/app-secret/1`, {
    headers: byCookie(session),
  });
  await opens(answer, key, world.resources['app-secret/1'], 'in the path');
  say("the worker's proof in the base path");
}

// A replayed exchange is answered, and gains nothing: the answer is the first enclave's to read.
async function theReplay(key) {
  const challenged = await challenge(world.base);
  const first = await attest(challenged, key);
  const second = await attest(challenged, key);
  assert.deepEqual([first.status, second.status], [200, 200]);
  const cookie = sessionOf(second);
  const answer = await get(world.base, `${world.task}/app-secret/1`, byCookie({ cookie }));
  await opens(answer, key, world.resources['app-secret/1'], 'a replayed exchange');
  say('a replayed exchange is answered to the first key alone');
}

async function theExpiry(key) {
  const challenged = await challenge(world.brief);
  const session = await attested(world.brief, key);
  const path = `${world.task}/app-secret/1`;
  await opens(await get(world.brief, path, byCookie(session)), key, undefined, 'before the end');
  await pause((world.briefSeconds + 2) * 1000);
  await refuses(await attest(challenged, key), 401, 'a challenge that has expired');
  await refuses(await get(world.brief, path, byCookie(session)), 401, 'a cookie that has expired');
  await refuses(await get(world.brief, path, byToken(session)), 401, 'a token that has expired');
  await attested(world.brief, key);
  say('attesting again');
}

const key = await theKeys();
await theKeysThatAreNot();
await theToken(key);
await theRefusals(key);
await theBasePath(key);
await theReplay(key);
await theExpiry(key);
