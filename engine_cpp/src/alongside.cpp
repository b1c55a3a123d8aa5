#include "minisim/alongside.hpp"

#include <algorithm>
#include <system_error>
#include <utility>

#include "minisim/interrupt.hpp"

namespace minisim {
namespace {

constexpr std::size_t kBatches = 8;   // that may wait: enough to even out, few enough to stay in cache
constexpr std::size_t kAtOnce = 256;  // steps told between two looks whether to stop

}  // namespace

Alongside::~Alongside() {
    if (!thread_.joinable()) return;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        stops_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

void Alongside::steps(const std::uint32_t* events, const Cycle* cycles, std::size_t count) {
    if (!thread_.joinable() && count >= kWorthAThread) begin();
    if (!thread_.joinable()) return other_.steps(events, cycles, count);
    Batch batch{{events, events + count}, {cycles, cycles + count}};
    std::unique_lock<std::mutex> lock(mutex_);
    wait(lock, [&] { return waiting_.size() < kBatches; });
    waiting_.push_back(std::move(batch));
    changed_.notify_all();
}

void Alongside::finish() {
    std::unique_lock<std::mutex> lock(mutex_);
    wait(lock, [&] { return waiting_.empty() && !busy_; });
}

void Alongside::begin() {
    try {
        thread_ = std::thread([this] { work(); });
    } catch (const std::system_error&) {  // there is none to be had
    }
}

// Until it holds, or the other has thrown. Meanwhile this thread can be interrupted like one that works.
template <class Holds>
void Alongside::wait(std::unique_lock<std::mutex>& lock, Holds holds) {
    while (!failure_ && !holds()) {
        if (changed_.wait_for(lock, interruption::kEvery) == std::cv_status::no_timeout) continue;
        lock.unlock();
        interruptible(interruption::kPatience + 1);
        lock.lock();
    }
    if (failure_) std::rethrow_exception(failure_);
}

void Alongside::work() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
        changed_.wait(lock, [&] { return stops_ || !waiting_.empty(); });
        if (stops_) return;
        const std::vector<Batch> batches = std::exchange(waiting_, {});  // all, or both threads would wake at each
        busy_ = true;
        lock.unlock();
        changed_.notify_all();
        std::exception_ptr failure;
        try {
            for (const Batch& batch : batches) tell(batch);
        } catch (...) {
            failure = std::current_exception();
        }
        lock.lock();
        busy_ = false;
        failure_ = failure;
        changed_.notify_all();
        if (failure) return;
    }
}

void Alongside::tell(const Batch& batch) {
    const std::size_t size = batch.events.size();
    for (std::size_t first = 0; first < size; first += kAtOnce) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            if (stops_) return;
        }
        other_.steps(batch.events.data() + first, batch.cycles.data() + first, std::min(kAtOnce, size - first));
    }
}

}  // namespace minisim
