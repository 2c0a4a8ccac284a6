// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Script} from "forge-std/Script.sol";
import {stdJson} from "forge-std/StdJson.sol";
import {VmSafe} from "forge-std/Vm.sol";
import {console} from "forge-std/console.sol";

import {AssetRegistry} from "../contracts/AssetRegistry.sol";
import {EnclaveWhitelist} from "../contracts/EnclaveWhitelist.sol";
import {TaskRegistry} from "../contracts/TaskRegistry.sol";

/// @title Deploys the three registries and writes down where they are
/// @notice The addresses depend on the bytecode alone: the same source gives the same ones on every
/// chain, whoever deploys. What stands already is left as it is.
/// @dev `forge script script/Deploy.s.sol --rpc-url … --private-key … --broadcast`. The
/// manifest
/// goes to `target/deployments/<chainid>.json`, or to the file under `target/` that DEPLOYMENT_OUT
/// names; without `--broadcast` none is written.
contract Deploy is Script {
    using stdJson for string;

    struct Deployment {
        // No registry has an event in an earlier block; 0 when nobody remembers.
        uint256 firstBlock;
        address assetRegistry;
        address enclaveWhitelist;
        address taskRegistry;
    }

    bytes32 public constant SALT = keccak256("sesame.v1");

    function run() external returns (Deployment memory) {
        string memory file =
            string.concat("target/deployments/", vm.toString(block.chainid), ".json");
        return deploy(vm.envOr("DEPLOYMENT_OUT", file));
    }

    /// @notice Deploys what is missing and writes the manifest to `file`.
    function deploy(string memory file) public returns (Deployment memory made) {
        bool fresh;
        vm.startBroadcast();
        (made.assetRegistry, fresh) = _create(type(AssetRegistry).creationCode);
        (made.enclaveWhitelist,) = _create(
            abi.encodePacked(type(EnclaveWhitelist).creationCode, abi.encode(made.assetRegistry))
        );
        (made.taskRegistry,) = _create(
            abi.encodePacked(type(TaskRegistry).creationCode, abi.encode(made.enclaveWhitelist))
        );
        vm.stopBroadcast();

        made.firstBlock = fresh ? block.number : _firstBlockIn(file, made);
        console.log("AssetRegistry    ", made.assetRegistry);
        console.log("EnclaveWhitelist ", made.enclaveWhitelist);
        console.log("TaskRegistry     ", made.taskRegistry);
        if (!vm.isContext(VmSafe.ForgeContext.ScriptDryRun)) _write(file, made);
    }

    /// @dev Creates a contract through the deterministic deployer, unless it is there.
    function _create(bytes memory initCode) private returns (address at, bool fresh) {
        at = vm.computeCreate2Address(SALT, keccak256(initCode), CREATE2_FACTORY);
        if (at.code.length > 0) return (at, false);

        (bool ok,) = CREATE2_FACTORY.call(abi.encodePacked(SALT, initCode));
        require(ok && at.code.length > 0, "the deterministic deployer did not deploy");
        return (at, true);
    }

    /// @dev What an earlier run wrote about this very deployment.
    function _firstBlockIn(string memory file, Deployment memory made)
        private
        view
        returns (uint256)
    {
        if (!vm.isFile(file)) return 0;
        string memory json = vm.readFile(file);
        bool same = json.readUint(".chainId") == block.chainid
            && json.readAddress(".assetRegistry") == made.assetRegistry;
        return same ? json.readUint(".firstBlock") : 0;
    }

    function _write(string memory file, Deployment memory made) private {
        string memory key = "deployment";
        key.serialize("chainId", block.chainid);
        key.serialize("firstBlock", made.firstBlock);
        key.serialize("assetRegistry", made.assetRegistry);
        key.serialize("enclaveWhitelist", made.enclaveWhitelist);
        key.serialize("taskRegistry", made.taskRegistry);
        string memory json = key.serialize("codeHashes", _codeHashes(made));

        vm.createDir(_folder(file), true);
        vm.writeJson(json, file);
    }

    /// @dev What `extcodehash` says of each. The code holds the chain's id, so that the same source
    /// has other hashes on another chain.
    function _codeHashes(Deployment memory made) private returns (string memory) {
        string memory key = "codeHashes";
        key.serialize("assetRegistry", made.assetRegistry.codehash);
        key.serialize("enclaveWhitelist", made.enclaveWhitelist.codehash);
        return key.serialize("taskRegistry", made.taskRegistry.codehash);
    }

    function _folder(string memory file) private pure returns (string memory folder) {
        string[] memory parts = vm.split(file, "/");
        folder = parts[0];
        for (uint256 i = 1; i + 1 < parts.length; ++i) {
            folder = string.concat(folder, "/", parts[i]);
        }
    }
}
