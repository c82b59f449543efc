package filter

import (
	"net/netip"
	"strings"
)

type tokenKind uint8

const (
	tokenEnd    tokenKind = iota
	tokenWord             // a keyword, or a name that stands for something
	tokenName             // a name behind a backslash: never a keyword
	tokenNumber           // decimal, octal (0…), hexadecimal (0x…), or a name like tcp-syn
	tokenIPv4             // two to four decimal numbers with dots
	tokenIPv6             //
	tokenMAC              //
	tokenSign             // ( ) [ ] : and operators
)

// A token is a word of a filter expression.
type token struct {
	kind   tokenKind
	text   string // as written; "&&", "||" and "!" as the words they stand for
	offset int    // in the expression, in octets
	number uint32 // of tokenNumber; the octets of tokenIPv4, from the left
	octets int    // of tokenIPv4: how many were written
	addr   [16]byte
}

func (t *token) is(text string) bool {
	return t.text == text && (t.kind == tokenWord || t.kind == tokenSign)
}

// quoted names the token in a message.
func (t *token) quoted() string {
	if t.kind == tokenEnd {
		return "the end"
	}
	return quoteWord(t.text)
}

// quoteWord puts a word in quotation marks, and shortens it if it is long.
func quoteWord(s string) string {
	const most = 40
	if len(s) > most {
		s = s[:most] + "…"
	}
	return `"` + s + `"`
}

// signs are tried in this order: the longer ones first.
var signs = []string{
	"&&", "||", "!=", "<=", ">=", "==", "<<", ">>",
	"(", ")", "[", "]", ":", "!", "=", "<", ">", "+", "-", "*", "/", "%", "&", "|", "^",
}

// lex cuts an expression into words. The last one is tokenEnd.
func lex(expr string) ([]token, *fault) {
	var tokens []token
	for at := 0; ; {
		for at < len(expr) && strings.IndexByte(" \t\r\n", expr[at]) >= 0 {
			at++
		}
		if at == len(expr) {
			return append(tokens, token{kind: tokenEnd, offset: at}), nil
		}
		t, n, err := lexToken(expr[at:], at)
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, t)
		at += n
	}
}

// lexToken reads the word that s begins with, at the given offset of the
// expression, and returns its length too.
func lexToken(s string, offset int) (token, int, *fault) {
	t := token{kind: tokenWord, offset: offset}
	if n := addressLen(s); n > 0 {
		t.text = s[:n]
		return t, n, t.readAddress()
	}
	if n := wordLen(s); n > 0 {
		t.text = s[:n]
		return t, n, t.readWord()
	}
	if s[0] == '\\' {
		n := wordLen(s[1:])
		if n == 0 {
			return t, 0, faultAt(offset, "a name must follow the backslash")
		}
		t.kind, t.text = tokenName, s[1:1+n]
		return t, 1 + n, nil
	}
	for _, sign := range signs {
		if strings.HasPrefix(s, sign) {
			t.kind, t.text = tokenSign, sign
			switch sign {
			case "&&":
				t.text = "and"
			case "||":
				t.text = "or"
			case "!":
				t.text = "not"
			}
			return t, len(sign), nil
		}
	}
	for _, r := range s {
		return t, 0, faultAt(offset, "%q has no meaning here", r)
	}
	panic("filter: lexToken of nothing")
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// addressLen returns the length of the IPv6 or Ethernet address with colons
// that s begins with, or 0. A single colon makes none: it may be that of
// "ip[6:2]".
func addressLen(s string) int {
	if !isHex(s[0]) && s[0] != ':' {
		return 0
	}
	n := 0
	for n < len(s) && (isAlnum(s[n]) || s[n] == ':' || s[n] == '.') {
		n++
	}
	if strings.Count(s[:n], ":") < 2 {
		return 0
	}
	return n
}

// wordLen returns the length of the word that s begins with, or 0. Words may
// hold dots, hyphens and underscores, but not end with the last two; so "4-1" is
// a word, as in tcpdump, and a subtraction wants blanks.
func wordLen(s string) int {
	if s == "" || !isAlnum(s[0]) {
		return 0
	}
	n := 1
	for n < len(s) && (isAlnum(s[n]) || strings.IndexByte("-_.", s[n]) >= 0) {
		n++
	}
	for s[n-1] == '-' || s[n-1] == '_' {
		n--
	}
	return n
}

// readAddress sets the token's kind and value from its text, which has colons.
func (t *token) readAddress() *fault {
	if mac, ok := parseMAC(t.text); ok {
		t.kind = tokenMAC
		copy(t.addr[:], mac[:])
		return nil
	}
	a, err := netip.ParseAddr(t.text)
	if err != nil || !a.Is6() {
		return faultAt(t.offset, "%s is neither an IPv6 nor an Ethernet address", t.quoted())
	}
	t.kind, t.addr = tokenIPv6, a.As16()
	return nil
}

// readWord sets the token's kind and value from its text.
func (t *token) readWord() *fault {
	if mac, ok := parseMAC(t.text); ok {
		t.kind = tokenMAC
		copy(t.addr[:], mac[:])
		return nil
	}
	if n, ok := constants[t.text]; ok {
		t.kind, t.number = tokenNumber, n
		return nil
	}
	if looksNumeric(t.text) {
		return t.readNumber()
	}
	if strings.Trim(t.text, "0123456789.") == "" {
		return t.readIPv4()
	}
	return nil
}

// looksNumeric reports whether s is digits, or hexadecimal ones behind 0x.
func looksNumeric(s string) bool {
	if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		return strings.Trim(s[2:], "0123456789abcdefABCDEF") == ""
	}
	return strings.Trim(s, "0123456789") == ""
}

func (t *token) readNumber() *fault {
	n, base, digits := uint64(0), uint64(10), t.text
	switch {
	case len(digits) > 1 && (digits[1] == 'x' || digits[1] == 'X'):
		base, digits = 16, digits[2:]
	case digits[0] == '0':
		base = 8
	}
	for i := range len(digits) {
		d := hexDigit(digits[i])
		if d >= base {
			return faultAt(t.offset, "%s begins with 0, so it is octal, but %c is not an octal digit", t.quoted(), digits[i])
		}
		if n = n*base + d; n > 1<<32-1 {
			return faultAt(t.offset, "%s does not fit into 32 bits", t.quoted())
		}
	}
	t.kind, t.number = tokenNumber, uint32(n)
	return nil
}

func hexDigit(c byte) uint64 {
	switch {
	case c >= 'a':
		return uint64(c-'a') + 10
	case c >= 'A':
		return uint64(c-'A') + 10
	}
	return uint64(c - '0')
}

func (t *token) readIPv4() *fault {
	parts := strings.Split(t.text, ".")
	if len(parts) > 4 {
		return faultAt(t.offset, "%s is not an IPv4 address: it has more than four parts", t.quoted())
	}
	t.kind, t.octets = tokenIPv4, len(parts)
	for i, part := range parts {
		n := 0
		for _, c := range []byte(part) {
			n = min(n*10+int(c-'0'), 256)
		}
		switch {
		case part == "":
			return faultAt(t.offset, "%s is not an IPv4 address: a number is missing between two dots", t.quoted())
		case n > 255:
			return faultAt(t.offset, "%s is not an IPv4 address: %s is more than 255", t.quoted(), quoteWord(part))
		case len(part) > 1 && part[0] == '0':
			return faultAt(t.offset, "%s is not an IPv4 address: %s begins with 0, which some programs read as octal", t.quoted(), quoteWord(part))
		}
		t.number |= uint32(n) << (24 - 8*i)
	}
	return nil
}

// parseMAC reads an Ethernet address: six numbers of one or two digits with one
// kind of separator (: - or .), three of four digits with dots, or twelve
// digits.
func parseMAC(s string) (mac [6]byte, ok bool) {
	if len(s) < 11 || len(s) > 17 {
		return mac, false
	}
	parts := []string{s}
	for _, separator := range []string{":", "-", "."} {
		if strings.Contains(s, separator) {
			parts = strings.Split(s, separator)
			break
		}
	}
	var digits string
	for _, part := range parts {
		switch {
		case len(parts) == 6 && len(part) == 1:
			digits += "0" + part
		case len(parts) == 6 && len(part) == 2, len(parts) == 3 && len(part) == 4 && s[4] == '.', len(part) == 12:
			digits += part
		default:
			return mac, false
		}
	}
	for i := range len(digits) {
		if !isHex(digits[i]) {
			return mac, false
		}
	}
	for i := range mac {
		mac[i] = byte(hexDigit(digits[2*i])<<4 | hexDigit(digits[2*i+1]))
	}
	return mac, true
}
