// A row of a table, for the validator's messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "minisim/errors.hpp"
#include "minisim/validate.hpp"

namespace minisim {

struct Validator::Place {
    const char* table;
    std::size_t row;

    [[noreturn]] void fail(const std::string& what) const {
        throw ScheduleError(std::string(table) + "[" + std::to_string(row) + "]: " + what);
    }

    // `value` must be below `limit`: a code, a row or a tile id. The message is only built to fail.
    void below(const char* field, std::uint64_t value, std::uint64_t limit) const {
        if (value >= limit) {
            fail(std::string(field) + " must be below " + std::to_string(limit) + ", not " +
                 std::to_string(value));
        }
    }

    void equal(const char* field, std::uint64_t value, std::uint64_t expected,
               const char* reason) const {
        if (value != expected) {
            fail(std::string(field) + " must be " + std::to_string(expected) + " (" + reason +
                 "), not " + std::to_string(value));
        }
    }
};

}  // namespace minisim
