// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title An honest ERC-20
contract Token is ERC20 {
    constructor() ERC20("Token", "TOK") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @title A token that keeps, or adds, something on the way
contract BentToken is Token {
    int256 public bend;

    function setBend(int256 to) external {
        bend = to;
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (from == address(0) || to == address(0) || bend == 0) return;
        if (bend > 0) _mint(to, uint256(bend));
        else _burn(to, uint256(-bend));
    }
}

/// @title A token that answers every transfer with yes, and moves nothing
contract LyingToken {
    function balanceOf(address) external pure returns (uint256) {
        return 1000 ether;
    }

    function transferFrom(address, address, uint256) external pure returns (bool) {
        return true;
    }
}

/// @title A token of before ERC-20 was settled: it answers nothing
contract SilentToken {
    mapping(address account => uint256) public balanceOf;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function transfer(address to, uint256 amount) external {
        move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external {
        move(from, to, amount);
    }

    function move(address from, address to, uint256 amount) private {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @title A token that calls whoever it is told to in the middle of a transfer
contract CallingToken is Token {
    address internal target;
    bytes internal data;
    bool public called;
    bool public passed;
    bytes public answer;

    function callDuringTransfer(address to, bytes calldata call) external {
        (target, data, called) = (to, call, false);
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (target != address(0) && !called && from != address(0)) {
            called = true;
            (passed, answer) = target.call(data);
        }
        super._update(from, to, amount);
    }
}
