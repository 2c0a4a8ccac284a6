// Deploys PoCo on a development node, as PoCo's own scripts do, and prints where.
//
//   node deploy.mjs RPC_URL [FILE]     the manifest goes to the output, or to that file
//
// The node signs for its last account, which owns all of it afterwards.

import { writeFileSync } from 'node:fs';
import { AbiCoder, FunctionFragment, Interface, ZeroAddress } from 'ethers';
import { Batch, HUB, REGISTRY, borrowed, connect, contract, token } from './poco.mjs';

const BASICS = ['DiamondCutFacet', 'DiamondLoupeFacet', 'OwnershipFacet'];
const FACETS = [
  'IexecAccessorsABILegacyFacet', 'IexecCategoryManagerFacet', 'IexecConfigurationExtraFacet',
  'IexecConfigurationFacet', 'IexecERC20Facet', 'IexecEscrowTokenFacet', 'IexecOrderManagementFacet',
  'IexecPoco1Facet', 'IexecPoco2Facet', 'IexecPocoAccessorsFacet', 'IexecRelayFacet',
];
const CATEGORIES = { XS: 300, S: 1200, M: 3600, L: 10800, XL: 36000 };
const BARE = { receive: '0x00000000', fallback: '0xffffffff' };

/** Writes a library's address into the places that wait for it. */
function linked(artifact, library) {
  const places = Object.values(artifact.linkReferences).flatMap(Object.values).flat();
  let { bytecode } = artifact;
  for (const { start, length } of places) {
    const [from, to] = [2 + start * 2, 2 + (start + length) * 2];
    bytecode = bytecode.slice(0, from) + library.slice(2).toLowerCase() + bytecode.slice(to);
  }
  return { ...artifact, bytecode };
}

/** What a diamond has to know of a facet. A function that an earlier facet has is left to that one. */
function cutter() {
  const taken = new Set();
  return (facetAddress, { abi }) => {
    const selectors = abi.filter(({ type }) => type === 'function').map(item => FunctionFragment.from(item).selector)
      .concat(abi.flatMap(({ type }) => BARE[type] ?? []));
    const functionSelectors = selectors.filter(selector => !taken.has(selector));
    for (const selector of functionSelectors) taken.add(selector);
    return [facetAddress, 0, functionSelectors];
  };
}

function diamond(batch) {
  const library = batch.deploy(contract('libs/IexecLibOrders_v5'));
  const facets = [
    ...BASICS.map(borrowed),
    ...FACETS.map(name => linked(contract(`facets/${name}`), library)),
  ];
  const cut = cutter();
  const cuts = facets.map(facet => cut(batch.deploy(facet), facet));
  const init = batch.deploy(borrowed('DiamondInit'));
  const call = Interface.from(['function init()']).encodeFunctionData('init');
  const types = ['tuple(address, uint8, bytes4[])[]', 'tuple(address, address, bytes)'];
  const parameters = AbiCoder.defaultAbiCoder().encode(types, [cuts, [batch.from, init, call]]);
  return batch.deploy(contract('Diamond'), parameters, 12_000_000);
}

function registry(batch, kind, folder) {
  const address = batch.deploy(contract(`registries/${folder}/${kind}Registry`));
  batch.call(address, REGISTRY, 'initialize', [ZeroAddress]);
  return address;
}

async function deploy(url) {
  const provider = connect(url);
  const { chainId } = await provider.getNetwork();
  const firstBlock = await provider.getBlockNumber() + 1;
  const batch = await Batch.of(provider, -1);

  const rlc = batch.deploy(token());
  const hub = diamond(batch);
  const appRegistry = registry(batch, 'App', 'apps');
  const datasetRegistry = registry(batch, 'Dataset', 'datasets');
  const workerpoolRegistry = registry(batch, 'Workerpool', 'workerpools');
  batch.call(hub, HUB, 'configure', [
    rlc, 'Staked RLC', 'SRLC', 9, appRegistry, datasetRegistry, workerpoolRegistry, ZeroAddress,
  ]);
  for (const [name, seconds] of Object.entries(CATEGORIES)) batch.call(hub, HUB, 'createCategory', [name, '""', seconds]);
  await batch.mined();
  provider.destroy();
  return { chainId: Number(chainId), firstBlock, hub, appRegistry, datasetRegistry, workerpoolRegistry };
}

const [url, file] = process.argv.slice(2);
const manifest = `${JSON.stringify(await deploy(url), null, 2)}\n`;
if (file) writeFileSync(file, manifest);
else process.stdout.write(manifest);
