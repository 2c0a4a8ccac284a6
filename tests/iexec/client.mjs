// iExec's own client, driven by a story: a command per line of JSON in, its outcome per line out.
//
//   node client.mjs RPC_URL HUB SMS_URL
//
// A command is `{"do": NAME, …}`; its outcome `{"ok": VALUE}`, or `{"error": MESSAGE}` with what the client throws. What iExec
// leaves to its scheduler and worker, and requests that its client would never send, are made here by hand.

import readline from 'node:readline';
import { Wallet, concat, getBytes, id, keccak256, solidityPackedKeccak256, toUtf8Bytes } from 'ethers';
import { IExec } from 'iexec';
import { Batch, HUB, RLC, connect, hubAt, walletOf } from './poco.mjs';

const [url, hubAddress, smsURL] = process.argv.slice(2);
const provider = connect(url);
const hub = hubAt(hubAddress, provider);

// --- people -----------------------------------------------------------------------------------------

const PEOPLE = ['developer', 'owner', 'scheduler', 'worker', 'requester', 'buyer', 'stranger'];
const wallets = Object.fromEntries(PEOPLE.map((name, index) => [name, walletOf(index).connect(provider)]));
const clients = Object.fromEntries(Object.entries(wallets).map(([name, ethProvider]) => {
  return [name, new IExec({ ethProvider }, { hubAddress, smsURL })];
}));

/** Signs 32 bytes as iExec's parties do. */
function sign(by, hash) {
  return wallets[by].signMessage(getBytes(hash));
}

async function sent(transaction) {
  const receipt = await (await transaction).wait();
  return receipt.hash;
}

// --- assets and money -------------------------------------------------------------------------------

const CHECKSUM = id('what it was packed as');
const CONTENT = '/ipfs/QmW2WQi7j6c7UgJTarActp7tDNikE4B2qXtFCfLPdsgaTQ';
const IMAGE = { type: 'DOCKER', multiaddr: 'registry.example.org/app:1', checksum: CHECKSUM };

const made = {
  app: ({ app }, owner, name) => app.deployApp({ owner, name, ...IMAGE }),
  dataset: ({ dataset }, owner, name) => dataset.deployDataset({ owner, name, multiaddr: CONTENT, checksum: CHECKSUM }),
  workerpool: ({ workerpool }, owner, description) => workerpool.deployWorkerpool({ owner, description }),
};

async function deploy({ kind, by, name }) {
  return (await made[kind](clients[by], wallets[by].address, name)).address;
}

const transfer = {
  app: ({ by, about, to }) => clients[by].app.transferApp(about, wallets[to].address),
  dataset: ({ by, about, to }) => clients[by].dataset.transferDataset(about, wallets[to].address),
};

/** Gives somebody RLC, in nRLC, and has them deposit it. */
async function fund({ who, amount }) {
  const bank = await Batch.of(provider, -1);
  bank.call(await hub.token(), RLC, 'transfer', [wallets[who].address, amount]);
  await bank.mined();
  await clients[who].account.deposit(amount);
  return String((await clients[who].account.checkBalance(wallets[who].address)).stake);
}

// --- secrets ------------------------------------------------------------------------------------------

const push = {
  dataset: ({ by, about, value }) => clients[by].dataset.pushDatasetSecret(about, value),
  app: ({ by, about, value }) => clients[by].app.pushAppSecret(about, value),
  requester: ({ by, name, value }) => clients[by].secrets.pushRequesterSecret(name, value),
  dropbox: ({ by, value, update }) => clients[by].storage.pushStorageToken(value, 'dropbox', { forceUpdate: update }),
  resultKey: ({ by, value, update }) => clients[by].result.pushResultEncryptionKey(value, { forceUpdate: update }),
};

const check = {
  dataset: ({ by, about }) => clients[by].dataset.checkDatasetSecretExists(about),
  app: ({ by, about }) => clients[by].app.checkAppSecretExists(about),
  requester: ({ by, about, name }) => clients[by].secrets.checkRequesterSecretExists(wallets[about].address, name),
  dropbox: ({ by, about }) => clients[by].storage.checkStorageTokenExists(wallets[about].address, 'dropbox'),
  resultKey: ({ by, about }) => clients[by].result.checkResultEncryptionKeyExists(wallets[about].address),
};

/** Who a secret is of: a contract, or somebody of the story. */
function subject(about) {
  return wallets[about]?.address ?? about;
}

function challengeOf(kind, about, name, value) {
  const digest = keccak256(toUtf8Bytes(value));
  const names = { dataset: [], app: [id('1')] }[kind] ?? [id(name)];
  return keccak256(concat([id('IEXEC_SMS_DOMAIN'), subject(about), ...names, digest]));
}

function pathOf(kind, about, name) {
  const of = subject(about);
  return {
    dataset: `/secrets/web3?secretAddress=${of}`,
    app: `/apps/${of}/secrets`,
    requester: `/requesters/${of}/secrets/${name}`,
    web2: `/secrets/web2?${new URLSearchParams({ ownerAddress: of, secretName: name })}`,
  }[kind];
}

async function ask(method, path, headers, body) {
  const answer = await fetch(new URL(path, smsURL), { method, headers, body });
  return { status: answer.status, body: await answer.text() };
}

/** A push as the client makes it, but never checked beforehand, and with whatever signature. */
async function send({ kind, by, about, name, value, method = 'POST', authorization, type = 'text/plain' }) {
  const signature = authorization ?? await sign(by, challengeOf(kind, about, name, value));
  return ask(method, pathOf(kind, about, name), { authorization: signature, 'content-type': type }, value);
}

// --- orders and deals -----------------------------------------------------------------------------------

const TEE = ['tee', 'tdx'];

const ORDERS = { app: 'Apporder', dataset: 'Datasetorder', workerpool: 'Workerpoolorder', request: 'Requestorder' };

/** A signed order. */
async function order({ kind, by, ...fields }) {
  const { order } = clients[by];
  return order[`sign${ORDERS[kind]}`](await order[`create${ORDERS[kind]}`]({ tag: TEE, ...fields }));
}

async function cancel({ kind, by, order }) {
  return (await clients[by].order[`cancel${ORDERS[kind]}`](order)).txHash;
}

async function match({ by, app, dataset, workerpool, request }) {
  const orders = { apporder: app, datasetorder: dataset, workerpoolorder: workerpool, requestorder: request };
  const { dealid, volume } = await clients[by].order.matchOrders(orders);
  return { deal: dealid, volume: Number(volume) };
}

// --- tasks ----------------------------------------------------------------------------------------------

async function initialize({ by, deal, index }) {
  await sent(hub.connect(wallets[by]).initialize(deal, index));
  return solidityPackedKeccak256(['bytes32', 'uint256'], [deal, index]);
}

async function task({ task }) {
  const { status, dealid, idx, finalDeadline } = await hub.viewTask(task);
  const { statusName } = await clients.requester.task.show(task);
  return { status, statusName, deal: dealid, index: idx, finalDeadline };
}

/** Makes a category of tasks, by the contracts' owner, and gives its number. */
async function category({ name, seconds }) {
  const admin = await Batch.of(provider, -1);
  admin.call(hubAddress, HUB, 'createCategory', [name, '', seconds]);
  await admin.mined();
  return await hub.countCategory() - 1n;
}

function permission(worker, task, enclave) {
  return solidityPackedKeccak256(['address', 'bytes32', 'address'], [wallets[worker].address, task, enclave]);
}

/** What the scheduler asks before it hires. */
async function challenge({ by, task, authorization }) {
  const signature = authorization ?? await sign(by, keccak256(task));
  return ask('POST', `/tee/challenges/${task}`, { authorization: signature });
}

/** What the worker asks once it is hired. */
async function session({ worker, scheduler, task, enclave, deal, index, header = worker, ...more }) {
  const hash = permission(worker, task, enclave);
  const body = {
    chainTaskId: task, dealId: deal, taskIndex: index, workerWallet: wallets[worker].address, enclaveChallenge: enclave,
    signature: { value: await sign(scheduler, hash) }, ...more,
  };
  const headers = { authorization: await sign(header, hash), 'content-type': 'application/json' };
  return ask('POST', '/tee/sessions', headers, JSON.stringify(body));
}

/** The contribution of an enclave that holds this key, checked by the contracts. */
async function contribute({ worker, scheduler, task, key, digest }) {
  const [enclave, { address }] = [new Wallet(key), wallets[worker]];
  const hash = solidityPackedKeccak256(['bytes32', 'bytes32'], [task, digest]);
  const seal = solidityPackedKeccak256(['address', 'bytes32', 'bytes32'], [address, task, digest]);
  const signed = await enclave.signMessage(getBytes(keccak256(concat([hash, seal]))));
  const hired = await sign(scheduler, permission(worker, task, enclave.address));
  return sent(hub.connect(wallets[worker]).contribute(task, hash, seal, enclave.address, signed, hired));
}

function reveal({ worker, task, digest }) {
  return sent(hub.connect(wallets[worker]).reveal(task, digest));
}

function finalize({ scheduler, task }) {
  return sent(hub.connect(wallets[scheduler]).finalize(task, '0x', '0x'));
}

function claim({ by, task }) {
  return clients[by].task.claim(task);
}

// --- commands ---------------------------------------------------------------------------------------------

const ofKind = table => ({ kind, ...more }) => table[kind](more);
const COMMANDS = {
  address: ({ who }) => wallets[who].address,
  deploy, transfer: ofKind(transfer), fund,
  push: ofKind(push), check: ofKind(check), send,
  order, cancel, match, category,
  initialize, task, challenge, session, contribute, reveal, finalize, claim,
};

function plain(key, value) {
  return typeof value === 'bigint' ? Number(value) : value;
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { do: name, ...more } = JSON.parse(line);
  let outcome;
  try {
    outcome = { ok: await COMMANDS[name](more) ?? null };
  } catch (error) {
    outcome = { error: [error.message, error.originalError?.message, error.cause?.message].filter(Boolean).join(': ') };
  }
  process.stdout.write(`${JSON.stringify(outcome, plain)}\n`);
}
provider.destroy();
