// Real memory for SRAM and DRAM: aligned, and poisoned until something is written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

#include "minisim/isa.hpp"

namespace minisim {

class Buffer {
public:
    // Throws std::bad_alloc if the memory cannot be had.
    explicit Buffer(std::size_t size)
        : size_(size), memory_(new std::byte[checked(size) + kAlignment]) {
        void* start = memory_.get();
        std::size_t space = size + kAlignment;
        data_ = static_cast<std::byte*>(std::align(kAlignment, size, start, space));
        poison();
    }

    std::byte* data() { return data_; }
    const std::byte* data() const { return data_; }
    std::size_t size() const { return size_; }

    // All bits set is a NaN in every floating-point format, so a read of what was never written
    // shows in the results. Integers have no such value: for them (-1) the tracker has to do.
    void poison() noexcept { std::memset(data_, 0xFF, size_); }

private:
    static std::size_t checked(std::size_t size) {
        if (size > SIZE_MAX - kAlignment) throw std::bad_alloc();
        return size;
    }

    std::size_t size_;
    std::unique_ptr<std::byte[]> memory_;
    std::byte* data_;  // the first aligned byte of memory_
};

}  // namespace minisim
