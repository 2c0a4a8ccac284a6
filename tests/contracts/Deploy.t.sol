// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {stdJson} from "forge-std/StdJson.sol";
import {Test} from "forge-std/Test.sol";

import {AssetRegistry} from "../../contracts/AssetRegistry.sol";
import {EnclaveWhitelist} from "../../contracts/EnclaveWhitelist.sol";
import {TaskRegistry} from "../../contracts/TaskRegistry.sol";
import {Deploy} from "../../script/Deploy.s.sol";

contract DeployTest is Test {
    using stdJson for string;

    string internal constant FOLDER = "target/forge/deploy-test/";

    Deploy internal script = new Deploy();

    function test_deploy_joinsTheThree() public {
        Deploy.Deployment memory made = script.deploy(string.concat(FOLDER, "joins.json"));
        assertGt(made.assetRegistry.code.length, 0);
        assertEq(EnclaveWhitelist(made.enclaveWhitelist).ASSETS(), made.assetRegistry);
        assertEq(TaskRegistry(made.taskRegistry).ASSETS(), made.assetRegistry);
        assertEq(TaskRegistry(made.taskRegistry).WHITELIST(), made.enclaveWhitelist);
    }

    function test_deploy_writesTheManifest() public {
        string memory file = string.concat(FOLDER, "writes.json");
        vm.chainId(4242);
        vm.roll(100);
        Deploy.Deployment memory made = script.deploy(file);

        string memory json = vm.readFile(file);
        assertEq(vm.parseJsonKeys(json, "$").length, 6);
        assertEq(json.readUint(".chainId"), 4242);
        assertEq(json.readUint(".firstBlock"), 100);
        assertEq(json.readAddress(".assetRegistry"), made.assetRegistry);
        assertEq(json.readAddress(".enclaveWhitelist"), made.enclaveWhitelist);
        assertEq(json.readAddress(".taskRegistry"), made.taskRegistry);
        assertEq(vm.parseJsonKeys(json, ".codeHashes").length, 3);
        assertEq(json.readBytes32(".codeHashes.assetRegistry"), made.assetRegistry.codehash);
        assertEq(json.readBytes32(".codeHashes.enclaveWhitelist"), made.enclaveWhitelist.codehash);
        assertEq(json.readBytes32(".codeHashes.taskRegistry"), made.taskRegistry.codehash);
    }

    function test_deploy_againChangesNothing() public {
        string memory file = string.concat(FOLDER, "again.json");
        vm.roll(100);
        Deploy.Deployment memory first = script.deploy(file);
        vm.roll(200);
        Deploy.Deployment memory second = script.deploy(file);
        assertEq(abi.encode(first), abi.encode(second));
    }

    /// @dev Where no manifest tells the first block, a mirror reads from the beginning.
    function test_deploy_againWithoutTheManifest() public {
        vm.roll(100);
        script.deploy(string.concat(FOLDER, "kept.json"));
        string memory lost = string.concat(FOLDER, "lost.json");
        if (vm.isFile(lost)) vm.removeFile(lost);
        assertEq(script.deploy(lost).firstBlock, 0);
    }

    /// @dev The deployed code is what the constructors make, and no other.
    function test_deploy_codeHashesTellCodeApart() public {
        Deploy.Deployment memory made = script.deploy(string.concat(FOLDER, "hashes.json"));
        bytes32 hash = made.taskRegistry.codehash;
        assertTrue(hash != made.enclaveWhitelist.codehash && hash != made.assetRegistry.codehash);
        assertEq(made.assetRegistry.codehash, address(new AssetRegistry()).codehash);
        assertNotEq(hash, address(new TaskRegistry(made.enclaveWhitelist)).codehash);
    }
}
