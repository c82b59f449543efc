package policy

import (
	"reflect"
	"strings"
	"testing"

	"github.com/tcpwatch/tcpwatch/report/record"
)

func compileBoth(text string) (*Expr, error) {
	if strings.Contains(text, setName) {
		return compile(text, setType, newBudget())
	}
	return compile(text, reportEnv, newBudget())
}

func TestFaultsOfExpressions(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{`client.state == TIME_WAIT && duration > 60`, ""},
		{`any(anomalies, .kind == rst_instead_of_ack)`, ""},
		{`any(anomalies, .kind in [rst_instead_of_ack, "syn-timeout"])`, ""},
		{`client.timer.kind == "2msl"`, ""},
		{`(handshake_rtt ?? 0) < 0.1`, ""},
		{`all(client.history, .state != CLOSE_WAIT)`, ""},
		{`client.addr matches "^10[.]"`, ""},
		{`start > date("2026-01-01")`, ""},
		{`count(connections, .server.state == "CLOSE_WAIT") == 0`, ""},
		{`sum(connections, .client.bytes) < 1000`, ""},

		{``, "the expression is empty"},
		{`client.stat == CLOSED`, "unknown field \"stat\", did you mean state? (addr, name, port, state, possible, certainty, proved_state,"},
		{`client.stat == CLOSED`, "\n  client.stat == CLOSED\n         ^"},
		{`any(anomalies, .knd == "x")`, `unknown field "knd", did you mean kind? (kind, severity, cause,`},
		{`clent.state == CLOSED`, `unknown name "clent", did you mean client? (type, conn, community_id, incarnation, client, server,`},
		{`client.state == TIME_WIAT`, `unknown name "TIME_WIAT", did you mean TIME_WAIT?`},
		{`client.state == "TIME_WIAT"`, `state is never "TIME_WIAT" (CLOSED, LISTEN,`},
		{`client.state in ["CLOSED", "CLOSE-WAIT"]`, `state is never "CLOSE-WAIT"`},
		{`any(anomalies, .kind == "rst")`, `kind is never "rst" (tcpwatch anomalies lists them)`},
		{`closed_by == "me"`, `closed_by is never "me" (client, server, both,`},
		{`client.port == "80"`, "mismatched types int and string"},
		{`client == 3`, "mismatched types an end and int"},
		{`duration`, "expected bool, but got float64"},
		{`client.sack`, "compare it: == true"},
		{`client.sack == true && !(server.sack ?? false)`, ""},
		{`duration >`, "unexpected token EOF"},
		{`let x = "a"; x + x == "aa"`, "let is not allowed"},
		{`reduce(1..9, #acc + #acc, "x") == "x"`, `reduce is not allowed (all, any,`},
		{`client.addr matches server.addr`, "matches needs a pattern in quotes"},
		{`client.addr matches "["`, "missing closing ]"},
		{`client.addr matches "` + strings.Repeat("x", maxPattern+1) + `"`, "must not be longer than 256 bytes\n"},
		{`client.addr matches "(abc){900}"`, "the regular expression is too large: 4502 instructions, at most 2000 are allowed\n"},
		{strings.Repeat(`client.addr matches "x" || `, MaxPatterns) + `client.addr matches "x"`, "there must not be more than 100 regular expressions\n"},
		{`count(connections, .sever.port == 1) == 0`, `unknown field "sever", did you mean server? (type, conn,`},
		{strings.Repeat("x", maxText+1), "longer than 4096 bytes"},
		{strings.Repeat("true && ", 700) + "!false", "longer"},
		{strings.Repeat("1+", 600) + "1 > 0", "exceeds maximum allowed nodes"},
	} {
		_, err := compileBoth(test.text)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.text, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%.60s: got %v, want %q", test.text, err, test.want)
		case err != nil && strings.Contains(err.Error(), "struct {"):
			t.Errorf("%.60s: the error shows a struct: %v", test.text, err)
		}
	}
}

var reportEnv = record.EnvType()

func zeroEnv() any { return reflect.New(reportEnv).Elem().Interface() }
