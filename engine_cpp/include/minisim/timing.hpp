// The event model, natively: the twin of hwmodel/simulate.py and its units, which define it.
//
// The same schedule, costs and rules of a cycle (hwmodel/clock.py) give the same Timeline, in every
// column. It knows no key of a machine file: durations come from hwmodel/cost.py, worked out once for
// each class of operations that cost the same (timing_classes.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "minisim/burst_port.hpp"
#include "minisim/memory.hpp"
#include "minisim/schedule.hpp"

namespace minisim {

// The gates of hwmodel/gates.py, in its order. NAME(name in C++, name in Python).
#define MINISIM_GATES(NAME)                                                                        \
    NAME(kDispatch, "dispatch")                                                                    \
    NAME(kLaunch, "launch")                                                                        \
    NAME(kQueue, "queue")                                                                          \
    NAME(kDescriptor, "descriptor")                                                                \
    NAME(kFirstStage, "first_stage")                                                               \
    NAME(kDecoder, "decoder")                                                                      \
    NAME(kAfterMatrix, "after_matrix")                                                             \
    NAME(kAfterVector, "after_vector")                                                             \
    NAME(kAfterLoad, "after_load")                                                                 \
    NAME(kAfterStore, "after_store")                                                               \
    NAME(kAfterCore, "after_core")                                                                 \
    NAME(kPlace, "place")                                                                          \
    NAME(kOrder, "order")                                                                          \
    NAME(kIssued, "issued")                                                                        \
    NAME(kUnit, "unit")                                                                            \
    NAME(kSetup, "setup")                                                                          \
    NAME(kRequests, "requests")                                                                    \
    NAME(kReady, "ready")                                                                          \
    NAME(kDram, "dram")                                                                            \
    NAME(kL2Port, "l2_port")                                                                       \
    NAME(kL2, "l2")                                                                                \
    NAME(kService, "service")                                                                      \
    NAME(kBusy, "busy")                                                                            \
    NAME(kServed, "served")                                                                        \
    NAME(kNoc, "noc")                                                                              \
    NAME(kBursts, "bursts")                                                                        \
    NAME(kLatency, "latency")                                                                      \
    NAME(kRetireOrder, "retire_order")

enum class Gate : std::uint8_t {
#define MINISIM_DECLARE_GATE(code, name) code,
    MINISIM_GATES(MINISIM_DECLARE_GATE)
#undef MINISIM_DECLARE_GATE
};

enum class Point : std::uint8_t { kIssue, kStart, kReady, kBegin, kServed, kDone, kEnd };
constexpr std::size_t kPoints = 7;

// Cycles of an operation, as hwmodel/cost.py's Costs has them.
struct OpCost {
    Cycle setup, busy, hold, latency, lag, dram;
};

struct TimingMachine {
    Cycle launch = 0, pace = 0;  // of control
    std::size_t depth = 1;       // of a queue, in descriptors
    std::size_t channels = 1;
    std::int64_t in_flight = 1;  // descriptors of a channel, at most
    bool shared = false;         // channels serve both directions
    std::optional<BurstRules> load_bursts, store_bursts;  // both, or none
    Cycle store_handshake = 0;    // of a burst of a store, beyond the memory's latency
    Cycle gap = 0, completion = 0;  // of the DMA
    MemoryMachine memory;
};

// Where the Timeline goes: a value for each operation; gate and holder have one for each point. The
// columns of `Answers` only if MemoryMachine::answers().
struct TimelineColumns {
    Cycle *issue, *start, *begin, *done, *end, *dram_begin, *dram_end;
    std::uint8_t* channel;
    std::uint8_t* gate;
    std::uint32_t* holder;
    Cycle *latency = nullptr, *read = nullptr, *written = nullptr, *contention = nullptr,
          *crossing = nullptr;
};

// Told of every step, in the order of hwmodel/state.py's Observer, in batches.
class StepListener {
public:
    virtual ~StepListener() = default;
    // Events as Engine::replay takes them: 2 x operation, + 1 where it retires.
    virtual void steps(const std::uint32_t* events, const Cycle* cycles, std::size_t count) = 0;
};

struct TimingResult {
    std::size_t unretired = 0;  // operations that wait for each other in a circle
    Counters counters;          // of the memory
};

// Times `schedule`, whose references are in range (`check_references`).
//
// `classes`: of each operation, the row of `costs`. `planes`: of each operation, how many its
// descriptor moves, 0 for one that follows; empty if all move one.
TimingResult time_operations(const Schedule& schedule, std::uint32_t cores, const TimingMachine& machine,
                          const std::vector<OpCost>& costs, const std::uint32_t* classes,
                          const std::vector<std::uint32_t>& planes, const TimelineColumns& columns,
                          StepListener* listener);

// When each operation could start if dispatching cost nothing; `sharing`: of each layer, how many
// cores share the DRAM. Throws ScheduleError if one waits for an operation behind it.
std::vector<Cycle> expected_starts(const Schedule& schedule, std::uint32_t cores,
                                   const std::vector<OpCost>& costs, const std::uint32_t* classes,
                                   const std::int64_t* sharing, bool shared);

// Throws ScheduleError if a row refers beyond a table. Operations may wait for whatever they like.
void check_references(const Schedule& schedule, std::uint32_t cores);

// Operations that cost the same cycles and energy: of each its class, and of each class the first operation.
struct Classes {
    std::vector<std::uint32_t> of, first;
};

// `period`: bytes by which addresses may differ and be cut into the same bursts; 1 without bursts.
// `sram_bytes`: of the scratchpad; addresses on chip from there on are the accumulator memory's.
Classes classify(const Schedule& schedule, const std::vector<std::uint32_t>& planes,
                 std::int64_t period, std::uint64_t sram_bytes);

}  // namespace minisim
