#include "tests/sim/cluster/faults.h"

static const char *const phase_texts[] = {
#define WEIR_SIM_TEXT(name, text) text,
    WEIR_SIM_PHASES(WEIR_SIM_TEXT)
};
static const char *const fault_texts[] = {WEIR_SIM_FAULTS(WEIR_SIM_TEXT)};
static const char *const sabotage_names[] = {
#undef WEIR_SIM_TEXT
#define WEIR_SIM_TEXT(name, text) #name,
    WEIR_SIM_SABOTAGES(WEIR_SIM_TEXT)
};

const char *weir_sim_phase_text(enum weir_sim_phase phase)
{
    return phase_texts[phase];
}

const char *weir_sim_fault_text(enum weir_sim_fault fault)
{
    return fault_texts[fault];
}

const char *weir_sim_sabotage_name(enum weir_sim_sabotage sabotage)
{
    return sabotage_names[sabotage];
}
