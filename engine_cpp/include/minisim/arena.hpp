// The SRAM: a buffer of the configured size that hands out bounds-checked ranges.
#pragma once

#include <cstdint>
#include <string>

#include "minisim/buffer.hpp"
#include "minisim/errors.hpp"

namespace minisim {

class Arena {
public:
    explicit Arena(std::uint64_t size) : buffer_(size) {}

    std::uint64_t size() const { return buffer_.size(); }
    void poison() noexcept { buffer_.poison(); }

    // The `bytes` bytes at `address`. Throws ScheduleError if they do not all lie in the arena.
    std::byte* at(std::uint64_t address, std::uint64_t bytes) {
        if (address > size() || bytes > size() - address) {
            throw ScheduleError("SRAM has " + std::to_string(size()) + " bytes: " +
                                std::to_string(bytes) + " bytes at address " +
                                std::to_string(address) + " do not fit");
        }
        return buffer_.data() + address;
    }

private:
    Buffer buffer_;
};

}  // namespace minisim
