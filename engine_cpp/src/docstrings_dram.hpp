// What Python's help() says about the timed DRAM. Part of bindings.cpp.
#pragma once

namespace minisim::doc {

constexpr const char* kDramServed =
    R"(When a run of requests was through, in DRAM cycles (see `minisim.hwmodel.banked.Served`).)";

constexpr const char* kDramMemory =
    R"(All channels of a DRAM part: `minisim.hwmodel.banked.Memory` in C++, equal to it in every cycle.

Args:
    part: a `minisim.hwmodel.dram_presets.DramPart`.

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

}  // namespace minisim::doc
