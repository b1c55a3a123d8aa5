#include "failing.hpp"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

// Other tests' threads allocate as well, where all are one program.
std::atomic<long> failing{0};  // the allocation that fails; 0: none
std::atomic<long> asked{0};    // allocations since that was said

void* allocate(std::size_t size) {
    constexpr std::size_t kMost = std::size_t{1} << 40;  // sanitizers abort where malloc gives up
    if (++asked == failing || size > kMost) throw std::bad_alloc();
    if (void* p = std::malloc(size ? size : 1)) return p;
    throw std::bad_alloc();
}

}  // namespace

Failing::Failing(long n) {
    asked = 0;
    failing = n;
}
Failing::~Failing() { failing = 0; }
bool Failing::happened() const { return asked >= failing; }

// A file of its own, so that the compiler does not see that delete is free() where it sees new.
void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
