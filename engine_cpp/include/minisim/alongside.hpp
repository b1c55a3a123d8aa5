// A listener that works in a thread of its own, while the steps to come are found.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "minisim/timing.hpp"

namespace minisim {

// Tells another listener of the same steps in the same order, later. What that throws is thrown to whoever tells this one,
// at the next call; it is told of nothing more then.
//
// Few steps are not worth a thread, and where none can be had they are told at once.
class Alongside : public StepListener {
public:
    explicit Alongside(StepListener& other) : other_(other) {}
    Alongside(const Alongside&) = delete;
    Alongside& operator=(const Alongside&) = delete;
    ~Alongside() override;  // the other is not told of what it has not begun

    void steps(const std::uint32_t* events, const Cycle* cycles, std::size_t count) override;
    void finish();  // returns when the other has been told of all

    static constexpr std::size_t kWorthAThread = 2048;  // steps

private:
    struct Batch {
        std::vector<std::uint32_t> events;
        std::vector<Cycle> cycles;
    };
    void begin();
    void work();
    void tell(const Batch& batch);
    template <class Holds>
    void wait(std::unique_lock<std::mutex>& lock, Holds holds);

    StepListener& other_;
    std::mutex mutex_;
    std::condition_variable changed_;
    // under the mutex
    std::vector<Batch> waiting_;
    bool busy_ = false, stops_ = false;
    std::exception_ptr failure_;

    std::thread thread_;
};

}  // namespace minisim
