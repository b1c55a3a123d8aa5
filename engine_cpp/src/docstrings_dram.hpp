// What Python's help() says about the timed DRAM. Part of bindings.cpp.
#pragma once

namespace minisim::doc {

constexpr const char* kDramServed =
    R"(When a run of requests was through, in DRAM cycles (see `minisim.hwmodel.banked.Served`).)";

constexpr const char* kDramTurn =
    R"(How a transfer's bursts were served, in core cycles (see `minisim.hwmodel.banked.Turn`).)";

constexpr const char* kDramMemory =
    R"(All channels of a DRAM part: `minisim.hwmodel.banked.Memory` in C++, equal to it in every cycle.

Args:
    part: a `minisim.hwmodel.dram_presets.DramPart`.
    rate: cycles of the DRAM's clock in one of the core's: a fraction or a whole number.

Raises:
    UsageError: a number that no part can have.
)";

constexpr const char* kDramRun =
    R"(Serve one burst at each of `addresses`, asked for in this order (see `Memory.run`).

Raises:
    UsageError: addresses that are no packed int64 column, or not as many writes.
)";

constexpr const char* kDramTransfer =
    R"(Serve the bursts under `rows` rows of `width` bytes, `pitch` apart: see `Memory.transfer`.

Raises:
    UsageError: no rows, no width, or a negative address or pitch.
)";

constexpr const char* kDramLines =
    R"(Serve the bursts of lines of `size` bytes: see `Memory.lines`.

Raises:
    UsageError: no lines, or one with a negative address.
)";

}  // namespace minisim::doc
