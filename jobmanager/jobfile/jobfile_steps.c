#include "common/base/hmap.h"
#include "jobmanager/jobfile/jobfile_read.h"

#include <ctype.h>

/* --- one step --------------------------------------------------------------------------------------------------------- */

static bool id_ok(struct weir_slice id)
{
    if (id.len == 0 || id.len > WEIR_NAME_MAX / 2) {
        return false;
    }
    for (size_t i = 0; i < id.len; i++) {
        if (!isalnum(id.data[i]) && id.data[i] != '_' && id.data[i] != '-' && id.data[i] != '.') {
            return false;
        }
    }
    return true;
}

static void broken(struct weir_jobfile *jf, struct weir_jobfile_step *step, const struct weir_yaml *node, const char *what)
{
    weir__jobfile_problem(jf, node, "step \"%s\" %s", step->id, what);
    step->broken = true;
}

/* What a step does follows from its keys; those that do not go together are named. */
static void find_kind(struct weir_jobfile *jf, struct weir_jobfile_step *step)
{
    bool calc = step->filter != NULL || step->project != NULL;
    bool agg = step->aggregate != NULL;
    if (step->source != NULL) {
        step->kind = WEIR_STEP_SOURCE;
        if (step->ninputs > 0 || calc || agg || step->key_by != NULL || step->window != NULL || step->sink != NULL) {
            broken(jf, step, step->source, "is a source and something else; expected only id and source, and another step behind it");
        }
        return;
    }
    if (step->ninputs == 0) {
        if (!step->broken) {
            broken(jf, step, step->node, "has neither source nor input; expected one of them");
        }
        return;
    }
    if ((step->key_by != NULL || step->window != NULL) && !agg) {
        broken(jf, step, step->key_by != NULL ? step->key_by : step->window,
               "has key_by or window without aggregate; expected aggregate: {NAME: \"COUNT(*)\"}");
        return;
    }
    if ((int)calc + (int)agg + (int)(step->sink != NULL) > 1) {
        broken(jf, step, agg ? step->aggregate : step->sink,
               "does several things; expected filter and/or project, or aggregate, or sink, each in a step of its own");
        return;
    }
    if (agg) {
        step->kind = WEIR_STEP_AGG;
    } else if (calc) {
        step->kind = WEIR_STEP_CALC;
    } else if (step->sink != NULL) {
        step->kind = WEIR_STEP_SINK;
    } else {
        step->kind = WEIR_STEP_UNION;
        if (step->ninputs == 1 && !step->broken) {
            broken(jf, step, step->node, "does nothing; expected filter, project, aggregate or sink, or several inputs");
        }
    }
}

static void read_inputs(struct weir_jobfile *jf, struct weir_jobfile_step *step, const struct weir_yaml *node)
{
    bool list = node->kind == WEIR_YAML_SEQUENCE;
    size_t count = list ? node->count : 1;
    if (count == 0 || count > WEIR_JOBFILE_STEPS_MAX) {
        broken(jf, step, node, "has no or too many inputs; expected the id of a step, or a list of ids");
        return;
    }
    step->input_nodes = weir_arena_alloc(jf->arena, count * sizeof(struct weir_yaml *));
    step->inputs = weir_arena_zalloc(jf->arena, count * sizeof(*step->inputs));
    for (size_t i = 0; i < count; i++) {
        const struct weir_yaml *item = list ? node->items[i] : node;
        struct weir_slice text;
        if (weir__jobfile_text(jf, item, "the input", &text)) {
            step->input_nodes[step->ninputs++] = item;
        } else {
            step->broken = true;
        }
    }
}

static void read_step(struct weir_jobfile *jf, const struct weir_yaml *node)
{
    static const char *const keys[] = {"id", "source", "input", "filter", "project", "key_by", "window", "aggregate", "sink", NULL};
    struct weir_jobfile_step *step = &jf->steps[jf->nsteps++];
    step->node = node;
    step->id_node = node;
    step->id = "?";
    step->broken = !weir__jobfile_map(jf, node, "a step", keys);
    const struct weir_yaml *id = weir_yaml_get(node, "id");
    if (node->kind != WEIR_YAML_MAP) {
        return;
    }
    struct weir_slice text;
    if (id == NULL) {
        weir__jobfile_problem(jf, node, "a step has no id; expected id: NAME");
        step->broken = true;
    } else if (!weir__jobfile_text(jf, id, "the step's id", &text)) {
        step->broken = true;
    } else if (!id_ok(text)) {
        weir__jobfile_problem(jf, id, "\"%.*s\" cannot be a step's id; expected at most %d letters, digits, _, - and .",
                              (int)(text.len > 40 ? 40 : text.len), (const char *)text.data, WEIR_NAME_MAX / 2);
        step->broken = true;
    } else {
        step->id = weir_arena_strndup(jf->arena, text.data, text.len);
        step->id_node = id;
    }
    step->source = weir_yaml_get(node, "source");
    step->sink = weir_yaml_get(node, "sink");
    step->filter = weir_yaml_get(node, "filter");
    step->project = weir_yaml_get(node, "project");
    step->key_by = weir_yaml_get(node, "key_by");
    step->window = weir_yaml_get(node, "window");
    step->aggregate = weir_yaml_get(node, "aggregate");
    if (weir_yaml_get(node, "input") != NULL) {
        read_inputs(jf, step, weir_yaml_get(node, "input"));
    }
    find_kind(jf, step);
}

/* --- what a step refers to -------------------------------------------------------------------------------------------- */

static void find_table(struct weir_jobfile *jf, struct weir_jobfile_step *step, const struct weir_yaml *node, uint32_t role)
{
    struct weir_slice name;
    if (!weir__jobfile_text(jf, node, role == WEIR_ROLE_SOURCE ? "the source" : "the sink", &name)) {
        step->broken = true;
        return;
    }
    for (uint32_t i = 0; i < jf->ntables && step->table == NULL; i++) {
        step->table = weir_slice_eq_str(name, jf->tables[i].spec.name) ? &jf->tables[i] : NULL;
    }
    if (step->table == NULL) {
        const char **names = weir_arena_alloc(jf->arena, (jf->ntables + 1) * sizeof(*names));
        for (uint32_t i = 0; i < jf->ntables; i++) {
            names[i] = jf->tables[i].spec.name;
        }
        weir__jobfile_problem(jf, node, "there is no table \"%.*s\"%s", WEIR_SLICE_ARG(name),
                              weir__jobfile_suggest(jf, name, names, jf->ntables));
        step->broken = true;
        return;
    }
    step->table->roles |= role;
    step->broken = step->broken || step->table->broken;
    if (step->table->connector != NULL && (step->table->connector->roles & role) == 0) {
        struct weir_buf list = {0};
        weir_connector_desc_list(role, &list);
        weir__jobfile_problem(jf, node, "table \"%s\" has connector \"%s\", which cannot be %s; expected one of %.*s",
                              step->table->spec.name, step->table->connector->name, role == WEIR_ROLE_SOURCE ? "read" : "written",
                              WEIR_SLICE_ARG(weir_buf_slice(&list)));
        weir_buf_fini(&list);
        step->broken = true;
    }
}

/* Inputs that do not exist are left out: their step is broken, and the rest can still be put in order. */
static bool find_inputs(struct weir_jobfile *jf, struct weir_jobfile_step *step, const struct weir_hmap *ids)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < step->ninputs; i++) {
        struct weir_slice name = step->input_nodes[i]->text;
        struct weir_jobfile_step *input = weir_hmap_get(ids, name);
        if (input == NULL) {
            const char **names = weir_arena_alloc(jf->arena, (jf->nsteps + 1) * sizeof(*names));
            size_t count = 0;
            for (uint32_t k = 0; k < jf->nsteps; k++) {
                names[count] = jf->steps[k].id;
                count += weir_hmap_get(ids, weir_slice_str(jf->steps[k].id)) == &jf->steps[k] && jf->steps[k].sink == NULL;
            }
            weir__jobfile_problem(jf, step->input_nodes[i], "there is no step \"%.*s\"%s", WEIR_SLICE_ARG(name),
                                  weir__jobfile_suggest(jf, name, names, count));
        } else if (input->sink != NULL) {
            weir__jobfile_problem(jf, step->input_nodes[i], "step \"%s\" is a sink and gives no rows; expected the step before it",
                                  input->id);
        } else {
            step->input_nodes[found] = step->input_nodes[i];
            step->inputs[found++] = (uint32_t)(input - jf->steps);
            input->consumers++;
        }
    }
    bool all = found == step->ninputs;
    step->broken = step->broken || !all;
    step->ninputs = found;
    return all;
}

static void find_tables(struct weir_jobfile *jf, struct weir_jobfile_step *step)
{
    if (step->source != NULL) {
        find_table(jf, step, step->source, WEIR_ROLE_SOURCE);
    }
    if (step->sink != NULL) {
        find_table(jf, step, step->sink, WEIR_ROLE_SINK);
    }
}

static void link_steps(struct weir_jobfile *jf)
{
    struct weir_hmap *ids = weir_hmap_create(0);
    for (uint32_t i = 0; i < jf->nsteps; i++) {
        struct weir_jobfile_step *step = &jf->steps[i];
        if (step->id_node == step->node) {
            continue;
        }
        const struct weir_jobfile_step *first = weir_hmap_get(ids, weir_slice_str(step->id));
        if (first != NULL) {
            weir__jobfile_problem(jf, step->id_node,
                                  "there are two steps \"%s\"; the first is at line %u", step->id, first->id_node->line);
            step->broken = true;
            step->consumers = 1; /* not unused: it has no name to be used by */
        } else {
            (void)weir_hmap_put(ids, weir_slice_str(step->id), step);
        }
    }
    bool all_found = true;
    for (uint32_t i = 0; i < jf->nsteps; i++) {
        all_found = find_inputs(jf, &jf->steps[i], ids) && all_found;
        find_tables(jf, &jf->steps[i]);
    }
    /* A misspelt input leaves a step without readers too: one problem is enough. */
    for (uint32_t i = 0; i < jf->nsteps && all_found; i++) {
        const struct weir_jobfile_step *step = &jf->steps[i];
        if (step->consumers == 0 && step->sink == NULL && step->id_node != step->node) {
            weir__jobfile_problem(jf, step->id_node, "no step reads step \"%s\"; expected a sink behind it", step->id);
        }
    }
    weir_hmap_destroy(ids);
}

/* --- order ------------------------------------------------------------------------------------------------------------ */

/* Whether the step can come next: every input is known and in the order already. */
static bool is_ready(const struct weir_jobfile *jf, const struct weir_jobfile_step *step)
{
    for (uint32_t i = 0; i < step->ninputs; i++) {
        if (!jf->steps[step->inputs[i]].done) {
            return false;
        }
    }
    return true;
}

/* Walks from a step that never became ready up its unready inputs until one comes again. */
static void report_cycle(struct weir_jobfile *jf, uint32_t start)
{
    bool *seen = weir_arena_zalloc(jf->arena, jf->nsteps * sizeof(*seen));
    uint32_t at = start;
    while (!seen[at]) {
        seen[at] = true;
        const struct weir_jobfile_step *step = &jf->steps[at];
        for (uint32_t i = 0; i < step->ninputs; i++) {
            if (!jf->steps[step->inputs[i]].done) {
                at = step->inputs[i];
                break;
            }
        }
    }
    const struct weir_jobfile_step *first = &jf->steps[at];
    struct weir_buf path = {0};
    uint32_t next = at;
    do {
        const struct weir_jobfile_step *step = &jf->steps[next];
        weir_buf_put_fmt(&path, "%s <- ", step->id);
        for (uint32_t i = 0; i < step->ninputs; i++) {
            if (!jf->steps[step->inputs[i]].done) {
                next = step->inputs[i];
                break;
            }
        }
    } while (next != at);
    weir__jobfile_problem(jf, first->input_nodes[0], "steps read each other in a circle: %.*s%s",
                          (int)(path.len > 300 ? 300 : path.len), (const char *)path.data, first->id);
    weir_buf_fini(&path);
}

/* Inputs before their readers, else as in the file. `done` is used for "in the order" here and cleared again. */
static void order_steps(struct weir_jobfile *jf)
{
    jf->order = weir_arena_alloc(jf->arena, jf->nsteps * sizeof(*jf->order));
    for (bool progress = true; progress;) {
        progress = false;
        for (uint32_t i = 0; i < jf->nsteps; i++) {
            if (!jf->steps[i].done && is_ready(jf, &jf->steps[i])) {
                jf->steps[i].done = true;
                jf->order[jf->norder++] = i;
                progress = true;
            }
        }
    }
    for (uint32_t i = 0; i < jf->nsteps && jf->norder < jf->nsteps; i++) {
        if (!jf->steps[i].done) {
            report_cycle(jf, i);
            break;
        }
    }
    for (uint32_t i = 0; i < jf->nsteps; i++) {
        jf->steps[i].done = false;
    }
}

void weir__jobfile_read_steps(struct weir_jobfile *jf, const struct weir_yaml *node)
{
    if (node->kind != WEIR_YAML_SEQUENCE || node->count == 0 || node->count > WEIR_JOBFILE_STEPS_MAX) {
        weir__jobfile_problem(jf, node, "pipeline is not a list of 1 to %d steps; expected - {id: ..., source: ...}",
                              WEIR_JOBFILE_STEPS_MAX);
        return;
    }
    jf->steps = weir_arena_zalloc(jf->arena, node->count * sizeof(*jf->steps));
    for (size_t i = 0; i < node->count; i++) {
        read_step(jf, node->items[i]);
    }
    link_steps(jf);
    order_steps(jf);
}
