// The engine: memories, units and the hazard tracker, driven by start and retire events.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "minisim/buffer.hpp"
#include "minisim/executor.hpp"
#include "minisim/hand_built.hpp"
#include "minisim/session.hpp"
#include "minisim/tables.hpp"

namespace minisim {

struct EngineConfig {
    std::uint64_t sram_bytes;
    std::string kernel = "auto";  // see kernel_named
    bool check_hazards = true;
    std::uint64_t accumulator_bytes = 0;  // a memory of its own, whose addresses follow the SRAM's
    std::uint32_t cores = 1;  // each with memories of these sizes of its own; all share the DRAM
};

constexpr std::uint32_t kMostCores = 64;

// numpy's name for the type that stands for a tensor's outside the engine: float32 for FP32 and BF16.
const char* outside_name(DType dtype);

// A matrix in the caller's memory, with steps in bytes (which may be negative).
struct HostMatrix {
    const std::byte* data;
    std::size_t rows, cols;
    std::ptrdiff_t row_step, col_step;
    std::string dtype = "float32";  // numpy's name for it
};

// A tensor's content, packed, in the type that stands for its own outside.
struct TensorCopy {
    DType dtype;
    std::size_t rows, cols;
    std::unique_ptr<std::byte[]> data;
};

// A tensor's content in place, its rows a pitch apart: memory that lives as long as somebody holds it.
struct TensorView {
    DType dtype;
    std::size_t rows, cols, pitch;
    std::shared_ptr<const Buffer> buffer;
};

// Not for several threads: see shared_engine.hpp. A call that throws leaves the engine as it was,
// but for what is said at replay(): there it has stopped, and reset() brings it back.
class Engine {
public:
    // Throws UsageError for an unknown kernel, or memories beyond what an address can name.
    explicit Engine(const EngineConfig& config);
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    const EngineConfig& config() const { return config_; }
    const Schedule& schedule() const { return session_->schedule; }

    // Checks a program and makes it the engine's, with fresh memories. Throws ScheduleError.
    void load(Tables tables);

    // Events in order of time: 2 * op when it starts, 2 * op + 1 when it retires. An operation is
    // checked at its start and performed at its retirement, so that whoever reads too early gets
    // poison. Throws Hazard or ScheduleError; the engine then refuses to go on until reset(). Asks
    // for no memory, but for what these say.
    void replay(const std::uint32_t* events, const std::int64_t* cycles, std::size_t count);

    // To be called after the last event. Throws ScheduleError if operations are left, Hazard if an
    // output is not complete in DRAM; as for replay().
    void finish(std::int64_t cycle);

    // The whole program in order, one operation at a time; the cycle is the operation's index.
    void run();

    // Back to the start: everything but the content of inputs and weights is forgotten. Of a
    // hand-built program only the tensors remain.
    void reset() noexcept;

    bool finished() const { return session_->in_flight.retired() == schedule().stream.size; }
    const EngineStats& stats() const { return session_->executor.stats(); }

    // The content of a tensor, without padding, in the type that stands for it outside: BF16 is
    // rounded to nearest from float, ties to even, and widened to it. Throws UsageError for a wrong
    // index, type or shape, or while an operation is in flight.
    void set_tensor(std::uint32_t tensor, const HostMatrix& values);
    TensorCopy tensor(std::uint32_t tensor) const;
    TensorView tensor_view(std::uint32_t tensor) const;

    // Hand-built programs: possible until a schedule is loaded.
    std::uint32_t add_tensor(std::uint32_t rows, std::uint32_t cols, Role role,
                             DType dtype = DType::kFp32);
    void dispatch(const SchedOp& op);  // starts and retires it at once

private:
    const TensorRow& row_of(std::uint32_t tensor) const;  // throws UsageError
    void start(std::uint32_t op, std::int64_t cycle);
    void retire(std::uint32_t op);
    void require_usable() const;
    void require_hand_built() const;

    template <class Work>
    void guarded(Work work);  // makes the engine unusable if `work` throws

    EngineConfig config_;
    MachineState machine_;
    std::unique_ptr<Session> session_;  // there always is one
    bool stopped_ = false;              // by a failure: unusable
    std::string failure_;               // which one
};

}  // namespace minisim
