// Fills a chain with deals, each matched and its one task initialized by transactions of their own, for measurements.
//
//   node fill.mjs RPC_URL HUB DEALS
//
// All are of one app, dataset and workerpool, and cost nothing. Prints how many there are and the last block.

import { randomBytes } from 'node:crypto';
import {
  Interface, TypedDataEncoder, ZeroAddress, ZeroHash, getAddress, hexlify, solidityPackedKeccak256, toBeHex,
  toQuantity, toUtf8Bytes,
} from 'ethers';
import { Batch, HUB, connect, contract, hubAt, walletOf } from './poco.mjs';

const TDX = toBeHex(9, 32);
const ZERO = { address: ZeroAddress, uint256: 0, bytes32: ZeroHash, string: '' };
/** How many deals are signed, then sent. */
const PORTION = 500;
const GAS_PRICE = toQuantity(1_000_000_000);

const [url, hubAddress, wanted] = process.argv.slice(2);
const provider = connect(url);
const hub = hubAt(hubAddress, provider);
const batch = await Batch.of(provider, -1);
const everybody = walletOf(0);

/** Makes an asset and gives its address, which is the number of its token. */
async function asset(kind, folder, ...values) {
  const abi = new Interface(contract(`registries/${folder}/${kind}Registry`).abi);
  batch.call(await hub[`${kind.toLowerCase()}registry`](), abi, `create${kind}`, [everybody.address, ...values]);
  const [{ logs }] = await batch.mined();
  const minted = logs.map(log => abi.parseLog(log)).find(log => log?.name === 'Transfer');
  return getAddress(toBeHex(minted.args.tokenId, 20));
}

/** What signs orders of each kind; fields that are not told are zero. Gives the signed order and its hash. */
async function signers() {
  const { chainId } = await provider.getNetwork();
  const domain = { name: 'iExecODB', version: '5.0.0', chainId, verifyingContract: hubAddress };
  const names = ['AppOrder', 'DatasetOrder', 'WorkerpoolOrder', 'RequestOrder'];
  return HUB.getFunction('matchOrders').inputs.map(({ components }, kind) => {
    const fields = components.slice(0, -1).map(({ name, type }) => ({ name, type }));
    const types = { [names[kind]]: fields };
    return told => {
      const salt = hexlify(randomBytes(32));
      const order = Object.fromEntries(fields.map(({ name, type }) => [name, { salt, ...told }[name] ?? ZERO[type]]));
      const hash = TypedDataEncoder.hash(domain, types, order);
      return { hash, order: { ...order, sign: everybody.signingKey.sign(hash).serialized } };
    };
  });
}

async function fill(deals) {
  const app = await asset('App', 'apps', 'app', 'DOCKER', toUtf8Bytes('registry.example.org/app:1'), ZeroHash, '0x');
  const dataset = await asset('Dataset', 'datasets', 'dataset', '0x', ZeroHash);
  const workerpool = await asset('Workerpool', 'workerpools', 'workerpool');
  const [ofApp, ofDataset, ofWorkerpool, ofRequest] = await signers();
  const common = { volume: deals, tag: TDX };
  const offers = [ofApp({ app, ...common }), ofDataset({ dataset, ...common }), ofWorkerpool({ workerpool, ...common })]
    .map(({ order }) => order);
  const people = { requester: everybody.address, beneficiary: everybody.address };
  for (let done = 0; done < deals; done += PORTION) {
    // Full blocks make gas dearer, in the end than anybody can pay.
    await provider.send('anvil_setNextBlockBaseFeePerGas', [GAS_PRICE]);
    for (let next = done; next < Math.min(done + PORTION, deals); next++) {
      const { order, hash } = ofRequest({ app, dataset, ...people, tag: TDX, volume: 1, params: `--deal ${next}` });
      const deal = solidityPackedKeccak256(['bytes32', 'uint256'], [hash, 0]);
      batch.call(hubAddress, HUB, 'matchOrders', [...offers, order], 700_000);
      batch.call(hubAddress, HUB, 'initialize', [deal, 0], 250_000);
    }
    await batch.mined();
  }
}

await fill(Number(wanted));
console.log(JSON.stringify({ deals: Number(wanted), lastBlock: await provider.getBlockNumber() }));
provider.destroy();
