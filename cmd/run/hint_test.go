package run

import "testing"

// What is to be typed again has no token in it, and a shell reads it as it was.
func TestRetyped(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"tcpwatch", "live", "-i", "eth0"}, "tcpwatch live -i eth0"},
		{[]string{"tcpwatch", "live", "--token", "secret", "-i", "lo"}, "tcpwatch live --token TOKEN -i lo"},
		{[]string{"tcpwatch", "live", "--token=secret"}, "tcpwatch live --token=TOKEN"},
		{[]string{"tcpwatch", "live", "--token-file", "/run/t", "-f", "port 80"}, "tcpwatch live --token-file /run/t -f 'port 80'"},
		{[]string{"tcpwatch", "it's", ""}, `tcpwatch 'it'\''s' ''`},
		{[]string{"tcpwatch", "--token"}, "tcpwatch --token"},
	} {
		if got := retyped(test.args); got != test.want {
			t.Errorf("%q: got %s, want %s", test.args, got, test.want)
		}
	}
}
