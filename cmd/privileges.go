package cmd

import (
	"os"
	"os/user"
	"strconv"
)

// defaultUser is whom live becomes if it was started as root.
const defaultUser = "nobody"

// currentUser names the user whom the process runs as.
func currentUser() string {
	id := strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}
