package text

import "strings"

// Meant returns the words that somebody who typed the given one probably meant:
// those that begin with it, else those that the fewest slips lead to. Case and
// what joins the parts of a word do not count. It returns none where nothing is
// near.
func Meant(typed string, words []string) (meant []string) {
	typed = fold(typed)
	if typed == "" {
		return nil
	}
	least := (len(typed) + 1) / 3
	for _, word := range words {
		slips := Distance(typed, fold(word))
		if len(typed) > 2 && strings.HasPrefix(fold(word), typed) {
			slips = min(slips, 1)
		}
		if slips < least {
			least, meant = slips, nil
		}
		if slips == least {
			meant = append(meant, word)
		}
	}
	return meant
}

// fold returns a word without its case and without what joins its parts.
func fold(word string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(word))
}

// Distance is how many characters must be put in, taken out, changed, or swapped
// with the next to make a of b.
func Distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
