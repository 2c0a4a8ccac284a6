// PoCo's contracts as its npm package has them, and how transactions go to a development node: many at once, unsigned, and
// waited for at the end.

import { readFileSync } from 'node:fs';
import { Contract, HDNodeWallet, Interface, JsonRpcProvider, getCreateAddress, toQuantity } from 'ethers';

const WORDS = 'test test test test test test test test test test test junk';
const MODULES = new URL('./node_modules/', import.meta.url);

function readJson(path) {
  return JSON.parse(readFileSync(new URL(path, MODULES)));
}

/** A contract of PoCo's own sources, by its path in them without suffix, such as `facets/IexecPoco1Facet`. */
export function contract(path, file = path) {
  const name = path.split('/').at(-1);
  return readJson(`@iexec/poco/artifacts/contracts/${file}.sol/${name}.json`);
}

/** A contract that PoCo takes from elsewhere, as it was deployed on Arbitrum One. */
export function borrowed(name) {
  return readJson(`@iexec/poco/deployments/arbitrum/${name}.json`);
}

/** The token, as PoCo's deployment takes it. */
export function token() {
  return readJson('rlc-faucet-contract/build/contracts/RLC.json');
}

/** All that the hub can do. */
export const HUB = new Interface(contract('IexecInterfaceToken').abi);
export const RLC = new Interface(token().abi);
/** What the three registries have in common. */
export const REGISTRY = new Interface(contract('registries/Registry').abi);

/** A node that is asked by the shortest way. */
export function connect(url) {
  return new JsonRpcProvider(url, undefined, { polling: true, pollingInterval: 20, staticNetwork: true, cacheTimeout: -1 });
}

/** An account of every development node. */
export function walletOf(index) {
  return HDNodeWallet.fromPhrase(WORDS, undefined, `m/44'/60'/0'/0/${index}`);
}

export function hubAt(address, runner) {
  return new Contract(address, HUB, runner);
}

/** What may be under way at once: of more than fits into a block, anvil drops what comes after the first that does not. */
const BLOCK_GAS = 28_000_000;
const ROUNDS = 100;

/** Sends the transactions of one account without waiting for each. */
export class Batch {
  #waiting = [];

  constructor(provider, from, nonce) {
    Object.assign(this, { provider, from, nonce });
  }

  /** Of the node's `index`-th account, or its last for -1: the node signs for it. */
  static async of(provider, index) {
    const account = (await provider.send('eth_accounts', [])).at(index);
    return new Batch(provider, account, await provider.getTransactionCount(account));
  }

  /** Deploys, and gives the address that it will have. */
  deploy({ bytecode }, parameters = '0x', gas = 1_000_000 + bytecode.length * 250) {
    const to = getCreateAddress(this);
    this.send({ data: bytecode + parameters.slice(2), gas });
    return to;
  }

  call(to, abi, name, parameters, gas = 1_000_000) {
    this.send({ to, data: abi.encodeFunctionData(name, parameters), gas });
  }

  send(transaction) {
    this.#waiting.push({ from: this.from, nonce: this.nonce++, ...transaction });
  }

  /** Sends all, and gives their receipts once they are mined. */
  async mined() {
    const receipts = [];
    while (this.#waiting.length > 0) receipts.push(...await this.#block());
    return receipts;
  }

  async #block() {
    let sum = 0;
    const over = this.#waiting.findIndex(({ gas }) => (sum += gas) > BLOCK_GAS);
    const now = this.#waiting.splice(0, over < 0 ? this.#waiting.length : over);
    const hashes = await Promise.all(now.map(({ nonce, gas, ...rest }) => {
      const transaction = { nonce: toQuantity(nonce), gas: toQuantity(gas), ...rest };
      return this.provider.send('eth_sendTransaction', [transaction]);
    }));
    for (let round = 0; round < ROUNDS; round++) {
      const receipts = await Promise.all(hashes.map(hash => this.provider.send('eth_getTransactionReceipt', [hash])));
      const failed = receipts.findIndex(receipt => receipt && receipt.status !== '0x1');
      if (failed >= 0) throw new Error(`this transaction failed: ${hashes[failed]}`);
      if (!receipts.includes(null)) return receipts;
      // A node that mines by the clock is told to go on.
      await this.provider.send('evm_mine', []);
    }
    throw new Error(`one of these transactions is not mined: ${hashes}`);
  }
}
