// An engine that threads may share.
//
// Every call is one turn at the engine: it waits in line, and then does all of its work, checks,
// allocations and copies, before anybody else has a turn. Nothing in here hands out a reference into
// the engine, so no caller can look at one program and act on the next: what a call takes and gives
// are values, or memory that they keep alive.
#pragma once

#include <cstdint>
#include <mutex>
#include <utility>

#include "minisim/engine.hpp"

namespace minisim {

class SharedEngine {
    // `auto` is a value, also where `work` gives a reference.
    template <class Work>
    auto in_turn(Work work) const {
        const std::lock_guard<std::mutex> in_line(line_);
        return work();
    }

public:
    // All calls as the Engine's of the same name.
    explicit SharedEngine(const EngineConfig& config) : engine_(config) {}

    const EngineConfig& config() const { return engine_.config(); }  // never changes

    void load(Tables tables) {
        in_turn([&] { engine_.load(std::move(tables)); });
    }
    void replay(const std::uint32_t* events, const std::int64_t* cycles, std::size_t count) {
        in_turn([&] { engine_.replay(events, cycles, count); });
    }
    void finish(std::int64_t cycle) {
        in_turn([&] { engine_.finish(cycle); });
    }
    void run() {
        in_turn([&] { engine_.run(); });
    }
    void reset() {
        in_turn([&] { engine_.reset(); });
    }
    bool finished() const {
        return in_turn([&] { return engine_.finished(); });
    }
    EngineStats stats() const {
        return in_turn([&] { return engine_.stats(); });
    }

    void set_tensor(std::uint32_t tensor, const HostMatrix& values) {
        in_turn([&] { engine_.set_tensor(tensor, values); });
    }
    TensorCopy tensor(std::uint32_t tensor) const {
        return in_turn([&] { return engine_.tensor(tensor); });
    }
    // What the view shows may change while it is looked at, as the engine goes on.
    TensorView tensor_view(std::uint32_t tensor) const {
        return in_turn([&] { return engine_.tensor_view(tensor); });
    }

    std::uint32_t add_tensor(std::uint32_t rows, std::uint32_t cols, Role role, DType dtype) {
        return in_turn([&] { return engine_.add_tensor(rows, cols, role, dtype); });
    }
    void dispatch(const SchedOp& op) {
        in_turn([&] { engine_.dispatch(op); });
    }

private:
    Engine engine_;
    mutable std::mutex line_;
};

}  // namespace minisim
