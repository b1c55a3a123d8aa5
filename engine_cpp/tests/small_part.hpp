// A DRAM part of sixteen banks, with round numbers, for tests.
#pragma once

#include "minisim/dram_channel.hpp"

inline minisim::DramPart small_part() {
    minisim::DramPart part;
    part.channels = 2, part.ranks = 2, part.groups = 2, part.banks = 2;
    part.rows = 16, part.page_bursts = 8, part.burst_bytes = 64, part.burst_cycles = 4;
    part.CL = 11, part.CWL = 9, part.tRCD = 12, part.tRP = 13, part.tRAS = 30;
    part.tCCD_S = 4, part.tCCD_L = 6, part.tRRD_S = 4, part.tRRD_L = 6, part.tFAW = 20;
    part.tWTR_S = 3, part.tWTR_L = 8, part.tWR = 14, part.tRTP = 7, part.tRPRE = 1, part.tRTRS = 2;
    part.tREFI = 2000, part.tRFC = 100;
    part.queue = 8, part.write_batch = 4, part.bank_queue = 2, part.commands = 1;
    part.mapping = "rochrababgco";
    return part;
}
