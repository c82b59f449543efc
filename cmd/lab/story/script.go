package story

import (
	"fmt"
	"strings"
)

// A Script is a story to be played. The comment at its head says what happens;
// then every line is a step, and begins with who does it:
//
//	sysctl HOST NAME=VALUE          before anything else
//	END filter RULE                 the host's firewall, in the words of nft: "tcp flags fin drop"
//	END translate                   it gives the host's process another port than it has inside
//	END listen [backlog=N] [window=N] [defer=SECONDS] [fastopen] [md5] [mptcp] [noaccept]
//	END connect [window=N] [iss=N] [timeout=MS] [md5] [mptcp]
//	END accept                      after "noaccept": take connections from now on
//	END fill N                      the host connects N times to its own listener
//	END forget                      the host's firewall forgets all connections
//	END fastopen OCTETS             connect with data in the SYN
//	END cork                        send nothing but full segments, until the FIN
//	END send OCTETS
//	END shutdown|close              the second leaves the rest to the host
//	END follow                      close when the peer has
//	END abort                       close with RST
//	END die                         the process is killed
//	END vanish                      the host forgets the socket, as in a crash
//	END destroy                     the host forgets what it has, as by "ss -K"
//	END deaf|hear                   stop reading, read again
//	END keepalive IDLE INTERVAL COUNT
//	END unlisten
//	wire drop|hold|delay|duplicate [every|N|Nth] SEGMENT from END [by TIME] [after SEGMENT from END]
//	wire release                    what is held
//	wire replay [Nth] SEGMENT from END
//	wire inject from END <SEQ=next+1><TS=last-1>...
//	wire unreachable to END         by ICMP
//	wire cut [from END], wire mend
//	wire noise loss=P duplicate=P late=P jitter=TIME seed=N
//	try STEP                        and go on if that fails
//	wait TIME
//	quiet [CLIENT-STATE SERVER-STATE]
//	allow END STATE: why            what a bystander may say instead at the last quiet moment
//	expect KIND|KIND [at END]       one of these must be flagged
//	never KIND...
//
// END is client or server; SEGMENT is SYN, SYN,ACK, ACK (with nothing else),
// data, FIN, RST or segment. At a quiet moment, when nothing has moved for 200
// ms, both hosts are asked for their states, which must be those of the line.
// A story that asks for what a host lacks is skipped.
type Script struct {
	Name        string
	Description string
	Seed        uint64 // of a random one
	steps       []step
}

type step struct {
	line  int
	text  string
	words []string
}

// Parse reads a script. Steps that make no sense fail when they are played.
func Parse(name, text string) *Script {
	s := &Script{Name: name}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch comment, is := strings.CutPrefix(line, "#"); {
		case is && len(s.steps) == 0:
			s.Description = strings.TrimSpace(s.Description + " " + strings.TrimSpace(comment))
		case is, line == "":
		default:
			s.steps = append(s.steps, step{i + 1, line, strings.Fields(line)})
		}
	}
	return s
}

// String returns the script as it can be put into testdata/stories.
func (s *Script) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", s.Description)
	for _, st := range s.steps {
		fmt.Fprintln(&b, st.text)
	}
	return b.String()
}
