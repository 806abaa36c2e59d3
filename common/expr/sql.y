/*
 * SQL's value expressions in Flink's dialect. Statements will be further start symbols of this grammar.
 *
 * Precedence, weakest first: OR, AND, NOT, predicates (= <> < IS BETWEEN IN LIKE), + -, * / % ||, unary sign. It is written as
 * layers and not with %left, so that BETWEEN's AND and POSITION's IN need no tricks.
 */
%define api.pure full
%define api.prefix {weir_sql_}
%define api.location.type {struct weir_expr_pos}
%define parse.error custom
%define parse.lac full
%locations
%expect 0
%param {void *scanner}
%parse-param {struct weir_sql_state *state}

%code requires {
#include "common/expr/sql_parse.h"
}

%code {
#include "common/base/mem.h"
#include "common/expr/sql.lex.h"

#define YYMALLOC weir_malloc
#define YYFREE weir_free
#define YYMAXDEPTH 10000
#define YYLLOC_DEFAULT(current, rhs, n) ((current) = YYRHSLOC(rhs, (n) != 0 ? 1 : 0))

static void weir_sql_error(const struct weir_expr_pos *pos, void *scanner, struct weir_sql_state *state, const char *message);

#define NONE ((struct weir_sql_list){0})
#define NAME(text) ((struct weir_sql_text){.data = (text), .len = (uint32_t)(sizeof(text) - 1)})
#define ADD(list, item) weir__sql_list_add(state, list, item)
#define CALL1(pos, name, a) weir__sql_call1(state, pos, name, a)
#define CALL2(pos, name, a, b) weir__sql_call2(state, pos, name, a, b)
#define CHECK(node) do { if ((node) == NULL) { YYABORT; } } while (0)
}

%union {
    struct weir_expr *expr;
    struct weir_sql_list list;
    struct weir_sql_text text;
    const char *name;
    bool flag;
}

%token END_OF_TEXT 0 "end of text"
%token LEX_ERROR "bad character"
%token <text> NUMBER "number" STRING "string" IDENT "name" NILADIC
%token AND "AND" OR "OR" NOT "NOT" IS "IS" NULL_ "NULL" TRUE_ "TRUE" FALSE_ "FALSE" UNKNOWN "UNKNOWN" DISTINCT "DISTINCT"
%token FROM "FROM" BETWEEN "BETWEEN" IN "IN" LIKE "LIKE" ESCAPE "ESCAPE" CASE "CASE" WHEN "WHEN" THEN "THEN" ELSE "ELSE" END "END"
%token CAST "CAST" TRY_CAST "TRY_CAST" AS "AS" FILTER "FILTER" WHERE "WHERE" FOR "FOR" TO "TO"
%token BOTH "BOTH" LEADING "LEADING" TRAILING "TRAILING"
%token EXTRACT "EXTRACT" SUBSTRING "SUBSTRING" POSITION "POSITION" TRIM "TRIM" TIMESTAMPDIFF "TIMESTAMPDIFF"
%token DATE_LITERAL "DATE" TIME_LITERAL "TIME" TIMESTAMP_LITERAL "TIMESTAMP" INTERVAL "INTERVAL"
%token EQ "=" NE "<>" LT "<" LE "<=" GT ">" GE ">=" CONCAT "||"
%token PLUS "+" MINUS "-" STAR "*" SLASH "/" PERCENT "%" OPEN "(" CLOSE ")" COMMA ","

%type <expr> expr or_expr and_expr not_expr predicate value term factor primary literal case_expr call otherwise filter unit
%type <list> expr_list args whens
%type <text> type type_words type_number
%type <name> comparison trim_side
%type <flag> truth sign distinct

%%

start: expr { state->expr = $expr; };

expr: or_expr;

or_expr: and_expr
    | or_expr[a] OR and_expr[b] { $$ = weir__sql_chain(state, @OR, "OR", $a, $b); CHECK($$); };

and_expr: not_expr
    | and_expr[a] AND not_expr[b] { $$ = weir__sql_chain(state, @AND, "AND", $a, $b); CHECK($$); };

not_expr: predicate
    | NOT not_expr[a] { $$ = CALL1(@NOT, "NOT", $a); CHECK($$); };

predicate: value
    | predicate[a] comparison value[b] { $$ = CALL2(@comparison, $comparison, $a, $b); CHECK($$); }
    | predicate[a] IS NULL_ { $$ = CALL1(@IS, "IS NULL", $a); CHECK($$); }
    | predicate[a] IS NOT NULL_ { $$ = CALL1(@IS, "IS NOT NULL", $a); CHECK($$); }
    | predicate[a] IS truth { $$ = CALL1(@IS, $truth ? "IS TRUE" : "IS FALSE", $a); CHECK($$); }
    | predicate[a] IS NOT truth { $$ = CALL1(@IS, $truth ? "IS NOT TRUE" : "IS NOT FALSE", $a); CHECK($$); }
    | predicate[a] IS UNKNOWN { $$ = CALL1(@IS, "IS UNKNOWN", $a); CHECK($$); }
    | predicate[a] IS NOT UNKNOWN { $$ = CALL1(@IS, "IS NOT UNKNOWN", $a); CHECK($$); }
    | predicate[a] IS DISTINCT FROM value[b] { $$ = CALL2(@IS, "IS DISTINCT FROM", $a, $b); CHECK($$); }
    | predicate[a] IS NOT DISTINCT FROM value[b] { $$ = CALL2(@IS, "IS NOT DISTINCT FROM", $a, $b); CHECK($$); }
    | predicate[a] BETWEEN value[low] AND value[high]
        {
            struct weir_expr *ge = CALL2(@BETWEEN, ">=", $a, $low);
            struct weir_expr *le = CALL2(@BETWEEN, "<=", $a, $high);
            $$ = CALL2(@BETWEEN, "AND", ge, le);
            CHECK($$);
        }
    | predicate[a] NOT BETWEEN value[low] AND value[high]
        {
            struct weir_expr *ge = CALL2(@BETWEEN, ">=", $a, $low);
            struct weir_expr *le = CALL2(@BETWEEN, "<=", $a, $high);
            $$ = CALL1(@NOT, "NOT", CALL2(@BETWEEN, "AND", ge, le));
            CHECK($$);
        }
    | predicate[a] IN OPEN expr_list[list] CLOSE
        {
            struct weir_sql_list all = ADD(NONE, $a);
            for (uint32_t i = 0; i < $list.count; i++) {
                all = ADD(all, $list.items[i]);
            }
            $$ = weir__sql_call(state, @IN, "IN", all);
            CHECK($$);
        }
    | predicate[a] NOT IN OPEN expr_list[list] CLOSE
        {
            struct weir_sql_list all = ADD(NONE, $a);
            for (uint32_t i = 0; i < $list.count; i++) {
                all = ADD(all, $list.items[i]);
            }
            $$ = CALL1(@NOT, "NOT", weir__sql_call(state, @IN, "IN", all));
            CHECK($$);
        }
    | predicate[a] LIKE value[b] { $$ = CALL2(@LIKE, "LIKE", $a, $b); CHECK($$); }
    | predicate[a] NOT LIKE value[b] { $$ = CALL1(@NOT, "NOT", CALL2(@LIKE, "LIKE", $a, $b)); CHECK($$); }
    | predicate[a] LIKE value[b] ESCAPE value[c]
        { $$ = weir__sql_call(state, @LIKE, "LIKE", ADD(ADD(ADD(NONE, $a), $b), $c)); CHECK($$); }
    | predicate[a] NOT LIKE value[b] ESCAPE value[c]
        { $$ = CALL1(@NOT, "NOT", weir__sql_call(state, @LIKE, "LIKE", ADD(ADD(ADD(NONE, $a), $b), $c))); CHECK($$); };

comparison: EQ { $$ = "="; } | NE { $$ = "<>"; } | LT { $$ = "<"; } | LE { $$ = "<="; } | GT { $$ = ">"; } | GE { $$ = ">="; };

truth: TRUE_ { $$ = true; } | FALSE_ { $$ = false; };

value: term
    | value[a] PLUS term[b] { $$ = CALL2(@PLUS, "+", $a, $b); CHECK($$); }
    | value[a] MINUS term[b] { $$ = CALL2(@MINUS, "-", $a, $b); CHECK($$); };

term: factor
    | term[a] STAR factor[b] { $$ = CALL2(@STAR, "*", $a, $b); CHECK($$); }
    | term[a] SLASH factor[b] { $$ = CALL2(@SLASH, "/", $a, $b); CHECK($$); }
    | term[a] PERCENT factor[b] { $$ = CALL2(@PERCENT, "%", $a, $b); CHECK($$); }
    | term[a] CONCAT factor[b] { $$ = CALL2(@CONCAT, "||", $a, $b); CHECK($$); };

factor: primary
    | PLUS factor[a] { $$ = $a; }
    | MINUS factor[a] { $$ = weir__sql_negate(state, @MINUS, $a); CHECK($$); };

primary: literal
    | IDENT { $$ = weir__sql_column(state, @IDENT, $IDENT); CHECK($$); }
    | OPEN expr CLOSE { $$ = $expr; }
    | case_expr
    | call;

literal: NUMBER { $$ = weir__sql_number(state, @NUMBER, $NUMBER); CHECK($$); }
    | STRING { $$ = weir__sql_string(state, @STRING, $STRING); CHECK($$); }
    | NULL_ { $$ = weir__sql_null(state, @NULL_); CHECK($$); }
    | truth { $$ = weir__sql_boolean(state, @truth, $truth); CHECK($$); }
    | DATE_LITERAL STRING { $$ = weir__sql_moment(state, @1, WEIR_TYPE_DATE, $STRING); CHECK($$); }
    | TIME_LITERAL STRING { $$ = weir__sql_moment(state, @1, WEIR_TYPE_TIME, $STRING); CHECK($$); }
    | TIMESTAMP_LITERAL STRING { $$ = weir__sql_moment(state, @1, WEIR_TYPE_TIMESTAMP, $STRING); CHECK($$); }
    | INTERVAL sign STRING IDENT { $$ = weir__sql_interval(state, @1, $sign, $STRING, $IDENT); CHECK($$); };

sign: %empty { $$ = false; } | MINUS { $$ = true; };

case_expr: CASE whens otherwise END { $$ = weir__sql_case(state, @CASE, NULL, $whens, $otherwise); CHECK($$); }
    | CASE expr whens otherwise END { $$ = weir__sql_case(state, @CASE, $expr, $whens, $otherwise); CHECK($$); };

whens: WHEN expr[a] THEN expr[b] { $$ = ADD(ADD(NONE, $a), $b); }
    | whens[list] WHEN expr[a] THEN expr[b] { $$ = ADD(ADD($list, $a), $b); };

otherwise: %empty { $$ = NULL; } | ELSE expr { $$ = $expr; };

call: CAST OPEN expr AS type CLOSE { $$ = weir__sql_cast(state, @CAST, $expr, $type, false); CHECK($$); }
    | TRY_CAST OPEN expr AS type CLOSE { $$ = weir__sql_cast(state, @TRY_CAST, $expr, $type, true); CHECK($$); }
    | EXTRACT OPEN unit FROM expr CLOSE { $$ = CALL2(@EXTRACT, "EXTRACT", $unit, $expr); CHECK($$); }
    | TIMESTAMPDIFF OPEN unit COMMA expr[a] COMMA expr[b] CLOSE
        { $$ = weir__sql_call(state, @1, "TIMESTAMPDIFF", ADD(ADD(ADD(NONE, $unit), $a), $b)); CHECK($$); }
    | SUBSTRING OPEN expr_list CLOSE { $$ = weir__sql_call(state, @1, "SUBSTRING", $expr_list); CHECK($$); }
    | SUBSTRING OPEN expr[s] FROM expr[a] CLOSE { $$ = CALL2(@1, "SUBSTRING", $s, $a); CHECK($$); }
    | SUBSTRING OPEN expr[s] FROM expr[a] FOR expr[b] CLOSE
        { $$ = weir__sql_call(state, @1, "SUBSTRING", ADD(ADD(ADD(NONE, $s), $a), $b)); CHECK($$); }
    | POSITION OPEN value[a] IN expr[b] CLOSE { $$ = CALL2(@1, "POSITION", $a, $b); CHECK($$); }
    | POSITION OPEN value[a] COMMA expr[b] CLOSE { $$ = CALL2(@1, "POSITION", $a, $b); CHECK($$); }
    | TRIM OPEN expr CLOSE { $$ = CALL1(@1, "TRIM", $expr); CHECK($$); }
    | TRIM OPEN expr[set] FROM expr[s] CLOSE { $$ = CALL2(@1, "TRIM", $s, $set); CHECK($$); }
    | TRIM OPEN trim_side FROM expr[s] CLOSE { $$ = CALL1(@1, $trim_side, $s); CHECK($$); }
    | TRIM OPEN trim_side expr[set] FROM expr[s] CLOSE { $$ = CALL2(@1, $trim_side, $s, $set); CHECK($$); }
    | NILADIC { $$ = weir__sql_function(state, @1, $NILADIC, NONE, false, false, NULL); CHECK($$); }
    | NILADIC OPEN CLOSE { $$ = weir__sql_function(state, @1, $NILADIC, NONE, false, false, NULL); CHECK($$); }
    | IDENT OPEN args CLOSE filter { $$ = weir__sql_function(state, @1, $IDENT, $args, false, false, $filter); CHECK($$); }
    | IDENT OPEN distinct expr_list CLOSE filter
        { $$ = weir__sql_function(state, @1, $IDENT, $expr_list, $distinct, false, $filter); CHECK($$); }
    | IDENT OPEN STAR CLOSE filter { $$ = weir__sql_function(state, @1, $IDENT, NONE, false, true, $filter); CHECK($$); }
    | IDENT OPEN expr TO unit CLOSE
        { $$ = weir__sql_function(state, @1, weir__sql_join(state, $IDENT, " ", NAME("TO")), ADD(ADD(NONE, $expr), $unit), false, false, NULL);
          CHECK($$); };

distinct: DISTINCT { $$ = true; };

trim_side: BOTH { $$ = "TRIM"; } | LEADING { $$ = "LTRIM"; } | TRAILING { $$ = "RTRIM"; };

filter: %empty { $$ = NULL; } | FILTER OPEN WHERE expr CLOSE { $$ = $expr; };

args: %empty { $$ = NONE; } | expr_list;

expr_list: expr { $$ = ADD(NONE, $expr); } | expr_list[list] COMMA expr { $$ = ADD($list, $expr); };

unit: IDENT { $$ = weir__sql_unit(state, @IDENT, $IDENT); CHECK($$); };

type: type_words
    | type_words[a] OPEN type_number[n] CLOSE { $$ = weir__sql_join(state, $a, "(", weir__sql_join(state, $n, ")", NAME(""))); }
    | type_words[a] OPEN type_number[n] CLOSE type_words[b]
        { $$ = weir__sql_join(state, $a, "(", weir__sql_join(state, $n, ") ", $b)); };

type_words: IDENT | type_words[a] IDENT[b] { $$ = weir__sql_join(state, $a, " ", $b); };

type_number: NUMBER | NUMBER[a] COMMA NUMBER[b] { $$ = weir__sql_join(state, $a, ", ", $b); };

%%

/* Called by the parser itself when its stack is full. */
static void weir_sql_error(const struct weir_expr_pos *pos, void *scanner, struct weir_sql_state *state, const char *message)
{
    (void)scanner;
    weir__sql_fail(state, *pos, WEIR_LIMIT, "the expression is nested too deeply (%s)", message);
}

/* Expected tokens, said shortly: every beginning of an operand is "an expression", every operator "an operator". */
static void describe_expected(const yypcontext_t *context, struct weir_buf *out)
{
    enum { TOKENS_MAX = 80, SHOWN_MAX = 6 };
    yysymbol_kind_t tokens[TOKENS_MAX];
    int count = yypcontext_expected_tokens(context, tokens, TOKENS_MAX);
    bool operand = false, operator = false;
    for (int i = 0; i < count; i++) {
        operand = operand || tokens[i] == YYSYMBOL_NUMBER;
        operator = operator || tokens[i] == YYSYMBOL_SLASH;
    }
    bool any_name = false;
    const char *shown[SHOWN_MAX];
    int nshown = 0;
    for (int i = 0; i < count; i++) {
        yysymbol_kind_t t = tokens[i];
        any_name = any_name || t == YYSYMBOL_IDENT;
        bool closing = t == YYSYMBOL_CLOSE || t == YYSYMBOL_COMMA || t == YYSYMBOL_YYEOF || t == YYSYMBOL_AS || t == YYSYMBOL_THEN ||
                       t == YYSYMBOL_END || t == YYSYMBOL_FROM || t == YYSYMBOL_WHEN || t == YYSYMBOL_ELSE;
        if ((!operand && !operator) || (closing && operator)) {
            if (nshown < SHOWN_MAX) {
                shown[nshown++] = yysymbol_name(t);
            }
        }
    }
    const char *kinds = operand && !operator ? "an expression" : operator ? "an operator" : NULL;
    if (kinds != NULL) {
        weir_buf_put_str(out, kinds);
    }
    for (int i = 0; i < nshown; i++) {
        weir_buf_put_str(out, kinds == NULL && i == 0 ? "" : i == nshown - 1 ? " or " : ", ");
        bool word = (shown[i][0] >= 'a' && shown[i][0] <= 'z') || (shown[i][0] >= 'A' && shown[i][0] <= 'Z');
        weir_buf_put_fmt(out, word ? "%s" : "'%s'", shown[i]);
    }
}

static int yyreport_syntax_error(const yypcontext_t *context, void *scanner, struct weir_sql_state *state)
{
    yysymbol_kind_t found = yypcontext_token(context);
    struct weir_expr_pos pos = *yypcontext_location(context);
    if (found == YYSYMBOL_LEX_ERROR) { /* the lexer has said what is wrong */
        return 0;
    }
    struct weir_buf expected = {0};
    describe_expected(context, &expected);
    const char *text = found == YYSYMBOL_YYEOF ? NULL : weir_sql_get_text(scanner);
    int len = found == YYSYMBOL_YYEOF ? 0 : weir_sql_get_leng(scanner);
    weir__sql_fail(state, pos, WEIR_INVALID, "expected %.*s, found %s%.*s%s", (int)expected.len,
                   expected.len == 0 ? "" : (const char *)expected.data, text == NULL ? "the end of the text" : "'", len > 60 ? 60 : len,
                   text == NULL ? "" : text, text == NULL ? "" : len > 60 ? "...'" : "'");
    weir_buf_fini(&expected);
    return 0;
}
