// The engine: memories, units and the hazard tracker, driven by start and retire events.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "minisim/arena.hpp"
#include "minisim/dram.hpp"
#include "minisim/executor.hpp"
#include "minisim/hand_built.hpp"
#include "minisim/in_flight.hpp"
#include "minisim/kernels.hpp"
#include "minisim/program.hpp"
#include "minisim/tracker.hpp"
#include "minisim/validate.hpp"

namespace minisim {

struct EngineConfig {
    std::uint64_t sram_bytes;
    std::string kernel = "auto";  // see kernel_named
    bool check_hazards = true;
    std::uint64_t accumulator_bytes = 0;  // a memory of its own, whose addresses follow the SRAM's
};

// A matrix in the caller's memory, with steps in bytes (which may be negative). Its elements have
// the type that stands for the tensor's outside the engine: float for FP32 and BF16.
struct HostMatrix {
    const std::byte* data;
    std::size_t rows, cols;
    std::ptrdiff_t row_step, col_step;
};

class Engine {
public:
    // Throws UsageError for an unknown kernel, or memories beyond what an address can name.
    explicit Engine(const EngineConfig& config);
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    const EngineConfig& config() const { return config_; }
    const Program& program() const { return program_; }

    // Checks a program and makes it the engine's, with fresh memories. Its tables are borrowed:
    // they must stay, unchanged, until the next load. Throws ScheduleError, changing nothing.
    void load(const Program& program);

    // Events in order of time: 2 * op when it starts, 2 * op + 1 when it retires. An operation is
    // checked at its start and performed at its retirement, so that whoever reads too early gets
    // poison. Throws Hazard or ScheduleError; the engine then refuses to go on until reset().
    void replay(const std::uint32_t* events, const std::int64_t* cycles, std::size_t count);

    // To be called after the last event. Throws ScheduleError if operations are left, Hazard if an
    // output is not complete in DRAM.
    void finish(std::int64_t cycle);

    // The whole program in order, one operation at a time; the cycle is the operation's index.
    void run();

    // Back to the start: everything but the content of inputs and weights is forgotten. Of a
    // hand-built program only the tensors remain.
    void reset();

    bool finished() const { return in_flight_.retired() == program_.stream.size; }
    const EngineStats& stats() const { return executor_.stats(); }

    // The content of a tensor, without padding, in the type that stands for it outside: BF16 is
    // rounded to nearest from float, ties to even, and widened to it. Throws UsageError for a wrong
    // index or shape, or while an operation is in flight.
    void set_tensor(std::uint32_t tensor, const HostMatrix& values);
    void get_tensor(std::uint32_t tensor, void* packed) const;
    const TensorRow& tensor_row(std::uint32_t tensor) const;  // throws UsageError
    std::shared_ptr<Buffer> tensor_buffer(std::uint32_t tensor) const;

    // Hand-built programs: possible until a schedule is loaded.
    std::uint32_t add_tensor(std::uint32_t rows, std::uint32_t cols, Role role,
                             DType dtype = DType::kFp32);
    void dispatch(const SchedOp& op);  // starts and retires it at once

private:
    Validator validator() const;
    void start(std::uint32_t op, std::int64_t cycle);
    void retire(std::uint32_t op);
    void begin();
    void require_usable() const;
    void require_hand_built() const;
    void check_new_rows(const HandBuilt::Mark& old) const;

    template <class Work>
    void guarded(Work work);  // makes the engine unusable if `work` throws

    EngineConfig config_;
    const Kernel& kernel_;
    Program program_;
    Arena arena_;
    Dram dram_;
    InFlight in_flight_;
    Executor executor_;
    std::optional<HandBuilt> hand_built_;  // none once a schedule is loaded
    std::unique_ptr<Tracker> tracker_;     // none if hazards are not checked
    std::string failure_;                  // why the engine is unusable; empty if it is not
};

}  // namespace minisim
