#include "minisim/interrupt.hpp"

#include <atomic>

namespace minisim {
namespace {
std::atomic<void (*)()> registered{nullptr};
}

void set_interruption(void (*function)()) { registered = function; }

void interruption::look_at_the_clock() {
    using Clock = std::chrono::steady_clock;
    thread_local Clock::time_point last = Clock::now();
    patience = kPatience;
    const auto now = Clock::now();
    if (now - last < kEvery) return;
    last = now;
    if (auto* function = registered.load()) function();
}

}  // namespace minisim
