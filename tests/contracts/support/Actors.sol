// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {IERC721Receiver} from "@openzeppelin/contracts/token/ERC721/IERC721Receiver.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title An account that calls whatever it is told to, and refuses payment
contract Refuser {
    function call(address to, uint256 value, bytes calldata data)
        external
        payable
        returns (bool passed, bytes memory answer)
    {
        return to.call{value: value}(data);
    }
}

/// @title An account that makes a call of its own whenever it gets a token or native coin
contract Reenterer is IERC721Receiver {
    address internal target;
    bytes internal data;
    bool public called;
    bool public passed;
    bytes public answer;

    function aim(address to, bytes calldata call_) external {
        (target, data) = (to, call_);
    }

    function call(address to, uint256 value, bytes calldata call_)
        external
        payable
        returns (bool, bytes memory)
    {
        return to.call{value: value}(call_);
    }

    function onERC721Received(address, address, uint256, bytes calldata) external returns (bytes4) {
        strike();
        return IERC721Receiver.onERC721Received.selector;
    }

    receive() external payable {
        strike();
    }

    function strike() private {
        if (target == address(0) || called) return;
        called = true;
        (passed, answer) = target.call(data);
    }
}

/// @title A wallet that signs by the key of its guardian, as long as it wants to
contract Wallet is IERC1271 {
    address internal immutable GUARDIAN;
    bool internal closed;

    constructor(address guardian) {
        GUARDIAN = guardian;
    }

    function close() external {
        closed = true;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature)
        external
        view
        returns (bytes4)
    {
        bool valid = !closed && ECDSA.recoverCalldata(hash, signature) == GUARDIAN;
        return valid ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}

/// @title A wallet whose key changes, and that answers as it is told to
contract MoodyWallet is IERC1271 {
    enum Mood {
        Honest,
        Reverting,
        WrongMagic,
        Burning,
        Silent
    }

    address public guardian;
    Mood public mood;

    constructor(address guardian_) {
        guardian = guardian_;
    }

    function set(address guardian_, Mood mood_) external {
        (guardian, mood) = (guardian_, mood_);
    }

    function isValidSignature(bytes32 hash, bytes calldata signature)
        external
        view
        returns (bytes4)
    {
        require(mood != Mood.Reverting);
        if (mood == Mood.WrongMagic) return 0x20c13b0b;
        while (mood == Mood.Burning) {}
        if (mood == Mood.Silent) {
            assembly {
                return(0, 0)
            }
        }
        bool valid = ECDSA.recoverCalldata(hash, signature) == guardian;
        return valid ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}
