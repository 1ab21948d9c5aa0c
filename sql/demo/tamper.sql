-- What somebody who wants to change history would try; each is refused with SQLSTATE 45A01.

-- name: update
update mailglass.events set type = 'delivered';

-- name: delete
delete from mailglass.events;

-- name: truncate
truncate mailglass.events;
